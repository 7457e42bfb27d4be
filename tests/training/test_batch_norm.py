"""BatchNormalization as it is trained agrees with Keras's own up to rounding."""

from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pocketkube.keras_private import flat_layers
from pocketkube.training.batch_norm import fused_batch_norm, synchronized_batch_norm
from pocketkube.training.forward import call_model
from pocketkube.training.method import Method
from pocketkube.training.workers import SingleProcess


def spread(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Channels of different means and sizes."""
    rng = np.random.default_rng(seed)
    channels = shape[-1]
    means, sizes = rng.normal(0, 3, channels), rng.uniform(0.1, 5, channels)
    return (means + sizes * rng.normal(size=shape)).astype("float32")


def randomized(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if "seed" not in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return model


class Doubled(Method):
    """Computes with twice of what is trained."""

    def __init__(self, model: keras.Model) -> None:
        self._trained = model.trainable_variables

    def replaced(self) -> list[tuple[Any, Any]]:
        return [(variable, 2 * variable.value) for variable in self._trained]


class Mirrored(SingleProcess):
    """One of two workers that have the same rows."""

    size = 2

    def total(self, tensor: tf.Tensor) -> tf.Tensor:
        return 2 * tensor


WAYS = {
    "keras": lambda model: nullcontext(),
    "fused": lambda model: fused_batch_norm(flat_layers(model)),
    "synchronized": lambda model: synchronized_batch_norm(flat_layers(model), Mirrored()),
}


def trained(model: keras.Model, x: np.ndarray, method: Method, way: str) -> list[np.ndarray]:
    """Outputs, gradients of inputs and variables, and statistics after two steps of training."""

    @tf.function
    def step(x: tf.Tensor) -> Any:
        with WAYS[way](model), tf.GradientTape() as tape:
            tape.watch(x)
            outputs, _ = call_model(model, [x], method, training=True)
            # The gradient of a plain sum would be zero.
            loss = tf.reduce_sum(tf.sin(tf.cast(outputs, tf.float32)))
        return outputs, tape.gradient(loss, [x, *(v.value for v in model.trainable_variables)])

    for _ in range(2):
        outputs, gradients = step(tf.constant(x))
    return [np.asarray(each) for each in (outputs, *gradients, *model.non_trainable_variables)]


def one(x: tuple[int, ...], **settings: Any) -> keras.Model:
    return keras.Sequential([keras.Input(x[1:]), layers.BatchNormalization(**settings)])


def nested(x: tuple[int, ...]) -> keras.Model:
    """Within a model within a model, twice the same layer, and a frozen one."""
    norm = layers.BatchNormalization(momentum=0.5)
    inner = keras.Sequential([keras.Input(x[1:]), norm, layers.ReLU(), norm])
    frozen = layers.BatchNormalization(trainable=False)
    return keras.Sequential([keras.Input(x[1:]), inner, frozen, layers.Conv2D(3, 1)])


SHAPE = (4, 5, 6, 3)
CASES = {
    "plain": lambda: (one(SHAPE), SHAPE),
    "settings": lambda: (one(SHAPE, momentum=0.3, epsilon=0.1), SHAPE),
    "small epsilon": lambda: (one(SHAPE, epsilon=1e-7), SHAPE),
    "no scale": lambda: (one(SHAPE, scale=False), SHAPE),
    "no offset": lambda: (one(SHAPE, center=False), SHAPE),
    "neither": lambda: (one(SHAPE, scale=False, center=False), SHAPE),
    "frozen": lambda: (one(SHAPE, trainable=False), SHAPE),
    "other axis": lambda: (one(SHAPE, axis=1), SHAPE),
    "rows": lambda: (one((7, 3)), (7, 3)),
    "sequences": lambda: (one((4, 5, 3)), (4, 5, 3)),
    "volumes": lambda: (one((2, 3, 4, 2, 3)), (2, 3, 4, 2, 3)),
    "renorm": lambda: (one(SHAPE, renorm=True), SHAPE),
    "nested": lambda: (nested(SHAPE), SHAPE),
}


@pytest.mark.parametrize("method", [lambda model: Method(), Doubled], ids=["plain", "replaced"])
@pytest.mark.parametrize("ours", ["fused", "synchronized"])
@pytest.mark.parametrize("case", CASES)
def test_it_computes_what_keras_computes(case: str, ours: str, method) -> None:
    model, shape = CASES[case]()
    start = randomized(model).get_weights()
    found = []
    for way in ("keras", ours):
        model.set_weights(start)
        found.append(trained(model, spread(shape), method(model), way))
    for wanted, given in zip(*found, strict=True):
        size = max(np.abs(wanted).max(), 1e-3)
        np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-5 * size)


def test_a_single_position_has_no_variance() -> None:
    model = one((1, 1, 1, 2))
    outputs, *_, mean, variance = trained(model, np.ones((1, 1, 1, 2), "float32"), Method(), "fused")
    np.testing.assert_array_equal(outputs, np.zeros((1, 1, 1, 2)))
    np.testing.assert_allclose(mean, [1 - 0.99**2] * 2, rtol=1e-6)
    np.testing.assert_allclose(variance, [0.99**2] * 2, rtol=1e-6)


def fused_operations(model: keras.Model) -> int:
    """How many there are in a call of the model."""
    call = tf.function(lambda x: model(x, training=True))
    graph = call.get_concrete_function(tf.TensorSpec(model.input_shape)).graph
    return [operation.type for operation in graph.get_operations()].count("FusedBatchNormV3")


def test_layers_are_as_before_behind_the_block() -> None:
    model = nested(SHAPE)
    with fused_batch_norm(flat_layers(model)):
        # The frozen one is none of them.
        assert fused_operations(model) == 2
    assert fused_operations(model) == 0
    assert not any("call" in vars(layer) for layer in flat_layers(model))


def test_an_epsilon_that_gpus_refuse_is_left_to_keras() -> None:
    model = one(SHAPE, epsilon=1e-7)
    with fused_batch_norm(flat_layers(model)):
        assert fused_operations(model) == 0


def test_a_layer_of_ones_own_computes_as_it_says() -> None:
    class Halving(layers.BatchNormalization):
        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return inputs / 2

    model = keras.Sequential([keras.Input(SHAPE[1:]), Halving()])
    x = spread(SHAPE)
    with fused_batch_norm(flat_layers(model)):
        np.testing.assert_array_equal(model(x, training=True), x / 2)


@pytest.mark.parametrize("ours", ["fused", "synchronized"])
def test_half_precision_has_statistics_in_single(ours: str) -> None:
    model, found = one(SHAPE, dtype="mixed_float16"), []
    start = randomized(model).get_weights()
    x = spread(SHAPE).astype("float16")
    for way in ("keras", ours):
        model.set_weights(start)
        found.append(trained(model, x, Method(), way))
    for wanted, given in zip(*found, strict=True):
        assert given.dtype == wanted.dtype
        step = np.finfo(np.float16).eps
        np.testing.assert_allclose(given, wanted, rtol=step, atol=2 * step * np.abs(wanted).max())
    for wanted, given in zip(found[0][-2:], found[1][-2:], strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-5)
