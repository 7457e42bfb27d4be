"""A network that Keras builds, but cannot call, is refused in one line that names the layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import pocketkube as pk
from pocketkube.errors import UserError
from pocketkube.graph.not_called import naming_what_cannot_be_called, why_not_called

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 6)).astype("float32"), np.arange(40) % 4


class Symbolic(layers.Layer):
    """Raises wherever it is called with numbers."""

    def call(self, x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            raise RuntimeError("there are no numbers here")
        return x

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def net(middle: Callable[[Any], Any], batch: int | None = None) -> keras.Model:
    """Dense, something in its middle, Dense."""
    inputs = keras.Input((6,), batch_size=batch)
    x = middle(layers.Dense(32, activation="relu", name="wide")(inputs))
    return keras.Model(inputs, layers.Dense(4, name="last")(layers.Flatten()(x)), name="net")


def reshaped_by_symbols() -> keras.Model:
    return net(lambda x: ops.reshape(x, (ops.shape(x)[0], 8, 4)))


def of_a_fixed_batch() -> keras.Model:
    return net(lambda x: ops.reshape(x, (ops.shape(x)[0], 8, 4)), batch=16)


def odd() -> keras.Model:
    return net(Symbolic(name="odd"))


OPEN = (
    r"reshape\w* \(Reshape\) is to give the shape \(None, 8, 4\), .*: "
    r"use keras.layers.Reshape\(\(8, 4\)\)"
)
FIXED = r"net: it is made for batches of 16, .*build it with batch_shape=\(None, …\)"
ODD = r"net: Keras cannot call odd \(Symbolic\) with examples: there are no numbers here"


@pytest.mark.parametrize(
    ("made", "said"), [(reshaped_by_symbols, OPEN), (of_a_fixed_batch, FIXED), (odd, ODD)]
)
def test_each_function_that_computes_says_what_cannot_be_called(
    tmp_path: Path, made: Callable[[], keras.Model], said: str
) -> None:
    model = made()
    for call in (
        lambda: pk.quantize(model, (X, Y), epochs=1),
        lambda: pk.prune(model, speedup=1.5, data=X),
        lambda: pk.export(model, tmp_path / "net.tflite", X),
        lambda: pk.export(model, tmp_path / "net.tflite"),
        lambda: pk.compare(model, model, X),
    ):
        with pytest.raises(UserError, match=said):
            call()
    assert not list(tmp_path.iterdir())


def test_a_shape_that_is_open_is_named_without_data_too() -> None:
    model = reshaped_by_symbols()
    for call in (lambda: pk.profile(model), lambda: pk.prune(model, speedup=1.5)):
        with pytest.raises(UserError, match=OPEN):
            call()


def test_the_shape_to_use_instead_leaves_the_same_network() -> None:
    inputs = keras.Input((None, 6))
    x = layers.Dense(8)(inputs)
    wrong = keras.Model(inputs, ops.reshape(x, (-1, ops.shape(x)[1], 2, 4)))
    right = keras.Model(inputs, layers.Reshape((-1, 2, 4))(x))
    assert "use keras.layers.Reshape((-1, 2, 4))," in str(why_not_called(wrong))
    assert right(np.zeros((5, 3, 6))).shape == (5, 3, 2, 4)


def test_a_network_that_can_be_called_is_not_blamed() -> None:
    model = net(lambda x: ops.reshape(x, (-1, 8, ops.shape(x)[1] // 8)))
    with pytest.raises(KeyError, match="of another's"), naming_what_cannot_be_called(model):
        raise KeyError("of another's")
    assert pk.prune(model, speedup=1.5, data=X).model(X).shape == (40, 4)
