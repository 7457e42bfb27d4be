"""LARS, LAMB and MobileNet's RMSProp, held against their papers' equations computed by NumPy."""

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.spec.sections import Training
from pocketkube.training.evaluation import evaluate
from pocketkube.training.loop import train
from pocketkube.training.optimizer import build_optimizer
from tests.training.test_loop import (
    CLASSIFY,
    Stopping,
    Stops,
    course,
    digits,  # noqa: F401
    net,
    same,
)

RATE, DECAY = 0.3, 0.02
LAYERWISE = {"lars": {"learning_rate": 5.0}, "lamb": {"learning_rate": 0.02}}


def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(4, 3), layers.BatchNormalization(), FakeQuantize(), layers.Flatten()]
    model = keras.Sequential([keras.Input((5, 5, 1)), *parts, layers.Dense(2)])
    # A kernel of zeros, which no ratio of norms would ever move.
    model.layers[-1].kernel.assign(np.zeros(model.layers[-1].kernel.shape))
    return model


def norm(values: np.ndarray) -> float:
    return float(np.sqrt(np.sum(np.square(values))))


def lars(weight: np.ndarray, gradients: list[np.ndarray], kind: str) -> np.ndarray:
    """Algorithm 1 of You et al. (2017), with a coefficient of 0.001; what has no decay has no ratio."""
    velocity = np.zeros_like(weight)
    for gradient in gradients:
        local, decay = 0.001, DECAY if kind == "kernel" else 0.0
        if kind == "kernel" and norm(weight) > 0:
            local *= norm(weight) / (norm(gradient) + DECAY * norm(weight))
        velocity = 0.9 * velocity + RATE * local * (gradient + decay * weight)
        weight = weight - velocity
    return weight


def lamb(weight: np.ndarray, gradients: list[np.ndarray], kind: str) -> np.ndarray:
    """Algorithm 2 of You et al. (2020), with the identity for its function of norms."""
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    for step, gradient in enumerate(gradients, 1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        update = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-6)
        ratio = 1.0
        if kind == "kernel":
            update = update + DECAY * weight
            ratio = norm(weight) / norm(update) if norm(weight) > 0 else 1.0
        weight = weight - RATE * ratio * update
    return weight


def rmsprop(weight: np.ndarray, gradients: list[np.ndarray], kind: str) -> np.ndarray:
    """As TensorFlow had it with MobileNets: momentum behind the division, an epsilon of 1."""
    square, velocity = np.zeros_like(weight), np.zeros_like(weight)
    for gradient in gradients:
        square = 0.9 * square + 0.1 * gradient**2
        velocity = 0.9 * velocity + RATE * gradient / np.sqrt(square + 1)
        weight = weight * (1 - RATE * DECAY if kind == "kernel" else 1) - velocity
    return weight


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("formula", [lars, lamb, rmsprop])
def test_steps_are_those_of_the_paper(formula, clip_norm) -> None:
    model = small()
    # What a method trains beside the model.
    beside = keras.Variable(np.array([[1.0, 2.0]], "float32"))
    settings = Training(
        optimizer=formula.__name__,
        learning_rate=RATE,
        weight_decay=DECAY,
        clip_norm=clip_norm,
        ema=0.7,
    )
    optimizer = build_optimizer(model, [beside], settings)
    trained = [*model.trainable_variables, beside]
    starts = [np.asarray(v, np.float64) for v in trained]
    rng = np.random.default_rng(0)
    steps = [[rng.normal(size=v.shape).astype("float32") for v in trained] for _ in range(3)]
    averages = starts
    clipped: list[list[np.ndarray]] = []
    for number, gradients in enumerate(steps, 1):
        optimizer.apply(list(map(keras.ops.convert_to_tensor, gradients)), trained)
        whole = norm(np.concatenate([g.ravel() for g in gradients]))
        part = 1.0 if clip_norm is None else min(1.0, clip_norm / whole)
        clipped.append([part * np.asarray(g, np.float64) for g in gradients])
        for place, variable in enumerate(trained):
            is_kernel = len(variable.shape) > 1 and variable is not beside
            kind = "kernel" if is_kernel else "beside"
            wanted = formula(starts[place], [each[place] for each in clipped], kind)
            np.testing.assert_allclose(variable, wanted, rtol=2e-5, atol=1e-6)
        now = [np.asarray(v) for v in trained]
        kept = 0.7 if number > 1 else 0.0
        averages = [kept * a + (1 - kept) * v for a, v in zip(averages, now, strict=True)]
    optimizer.finalize_variable_values(trained)
    for variable, average in zip(trained, averages, strict=True):
        np.testing.assert_allclose(variable, average, rtol=1e-5, atol=1e-6)


def test_rates_for_lars_suit_biases_that_no_normalization_follows(digits) -> None:  # noqa: F811
    settings = course(epochs=8, optimizer="lars", learning_rate=10.0, weight_decay=1e-4)
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]
    parts += [layers.Dense(32, activation="relu"), layers.Dense(10)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts])
    train(model, digits, CLASSIFY, settings, seed=0)
    assert evaluate(model, digits.validation, CLASSIFY).score > 0.9


@pytest.mark.parametrize("name", LAYERWISE)
def test_a_course_goes_on_from_its_checkpoint(digits, tmp_path, name) -> None:  # noqa: F811
    changes = {"mixed_precision": True, "clip_norm": 1.0, "ema": 0.8, "checkpoint_steps": 7}
    settings = course(epochs=1, optimizer=name, **changes | LAYERWISE[name])
    whole, cut = net(), net()
    train(whole, digits, CLASSIFY, settings, seed=0, method=Stopping(None))
    with pytest.raises(Stops):
        train(cut, digits, CLASSIFY, settings, seed=0, method=Stopping(16), checkpoints=tmp_path)
    again = net()
    train(again, digits, CLASSIFY, settings, seed=0, method=Stopping(None), checkpoints=tmp_path)
    assert same(whole, again)
    assert not same(whole, cut)
