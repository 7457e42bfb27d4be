"""Gradients are compared with differences, which share no code with them."""

import numpy as np

from pocketkube.search.ddpg.network import Adam, Network, fresh


def test_gradients_are_those_of_small_differences() -> None:
    rng = np.random.default_rng(0)
    network = fresh((4, 6, 5), 0.7, rng)
    inputs, slopes = rng.normal(size=(3, 4)), rng.normal(size=3)
    weights, into = network.gradients(network.forward(inputs), slopes)

    def value(weights: np.ndarray, inputs: np.ndarray) -> float:
        return float(Network(network.widths, weights)(inputs) @ slopes)

    for place in range(len(weights)):
        moved = np.zeros_like(network.weights)
        moved[place] = 1e-6
        difference = value(network.weights + moved, inputs) - value(network.weights - moved, inputs)
        np.testing.assert_allclose(weights[place], difference / 2e-6, atol=1e-6)
    for place in np.ndindex(inputs.shape):
        moved = np.zeros_like(inputs)
        moved[place] = 1e-6
        difference = value(network.weights, inputs + moved) - value(network.weights, inputs - moved)
        np.testing.assert_allclose(into[place], difference / 2e-6, atol=1e-6)


def test_adam_fits_a_line() -> None:
    rng = np.random.default_rng(1)
    network = fresh((1, 16, 16), 0.1, rng)
    adam, x = Adam(network, 0.01), np.linspace(0, 1, 32)[:, None]
    for _ in range(400):
        values = network.forward(x)
        adam.step(network.gradients(values, (values[-1][:, 0] - 2 * x[:, 0]) / len(x))[0])
    assert np.abs(network(x) - 2 * x[:, 0]).max() < 0.1
