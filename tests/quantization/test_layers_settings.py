"""What a layer is told beside its weights holds in the network that is quantized, too."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import pocketkube as pk
from pocketkube.quantization.insertion import prepare

RNG = np.random.default_rng(7)
X = RNG.normal(size=(400, 8)).astype("float32")
Y = (X[:, 0] * X[:, 1] > 0).astype("int32")


def answers(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(model(tf.cast(x, "float32")))


@pytest.mark.parametrize("first", [None, layers.Rescaling(1 / 255), layers.BatchNormalization()])
def test_whole_numbers_calibrate_as_the_same_numbers_in_floats_do(first: Any) -> None:
    images = RNG.integers(0, 256, (64, 8, 8, 1))
    keras.utils.set_random_seed(0)
    conv = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *([first] if first else []), *conv])
    given = [pk.quantize(model, x).model for x in (images, images.astype("float32"))]
    np.testing.assert_array_equal(*[answers(each, images) for each in given])


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_an_activity_regularizer_stays_behind_the_activation(activation: str) -> None:
    inputs = keras.Input((8,))
    dense = layers.Dense(6, activation=activation, activity_regularizer=keras.regularizers.L1(0.1))
    model = keras.Model(inputs, layers.Dense(2)(dense(inputs)))
    prepared = prepare(model, None).model
    terms = []
    for each in (model, prepared):
        each(X)
        terms.append(float(sum(each.losses)))
    hidden = keras.activations.get(activation)(X @ np.asarray(dense.kernel))
    assert terms[0] == pytest.approx(0.1 * np.abs(hidden).sum() / len(X), rel=1e-5)
    assert terms[1] == pytest.approx(terms[0], rel=1e-6)


@pytest.mark.parametrize("constraint", [keras.constraints.MaxNorm(0.5), keras.constraints.UnitNorm()])
def test_a_constraint_does_not_hold_for_the_kernel_that_a_batch_norm_is_folded_into(
    constraint: keras.constraints.Constraint,
) -> None:
    keras.utils.set_random_seed(0)
    hidden = [
        layers.Dense(16, use_bias=False, kernel_constraint=constraint),
        layers.BatchNormalization(),
        layers.ReLU(),
    ]
    model = keras.Sequential([keras.Input((8,)), *hidden, layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(X, Y, epochs=5, verbose=0)
    # Of so few rows at once that BatchNorm keeps its statistics.
    course = {"training": {"batch_size": 8}, "learning_rate": 1e-8}
    found = pk.quantize(model, (X, Y), epochs=1, **course).model
    # 8 bits, and a rate that moves nothing: the answers are the model's but for rounding.
    assert np.std(answers(found, X) - answers(model, X)) < 0.05 * np.std(answers(model, X))


def lecun_tanh(x: Any) -> Any:
    return 1.7159 * keras.ops.tanh(2 * x / 3)


lecun_tanh.__name__ = "tanh"


class Gate(layers.Layer):
    """x * sigmoid(x W): what it calls its activation is not what it ends in."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.activation = keras.activations.sigmoid

    def build(self, shape: tuple[int, ...]) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]))

    def call(self, x: Any) -> Any:
        return x * self.activation(keras.ops.matmul(x, self.kernel))


@pytest.mark.parametrize(
    "make",
    [
        Gate,
        lambda: layers.Activation(lecun_tanh),
        lambda: layers.Dense(8, activation=lecun_tanh),
        lambda: layers.Dense(8, activation=layers.ReLU(negative_slope=0.5)),
    ],
    ids=["layer", "activation", "in a layer", "of a layer"],
)
def test_a_range_is_that_of_a_name_only_where_the_name_is_keras_s(
    make: Callable[[], layers.Layer],
) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), layers.Dense(8), make(), layers.Dense(2)])
    wanted, found = answers(model, 3 * X), answers(pk.quantize(model, 3 * X).model, 3 * X)
    assert np.std(found - wanted) < 0.05 * np.std(wanted)


def test_a_network_with_one_number_for_each_example_goes_through() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8,))
    hidden = layers.Dense(16, activation="relu")(inputs)
    model = keras.Model(inputs, keras.ops.squeeze(layers.Dense(1)(hidden), -1))
    model.compile("adam", "mse")
    found = pk.prune(model, speedup=2, data=(X, X.sum(axis=1))).model
    assert found.output_shape == (None,)
    assert found.layers[1].units < 16
    assert pk.fine_tune(model, (X, X.sum(axis=1)), epochs=1).model.output_shape == (None,)
