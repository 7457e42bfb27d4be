"""Why a model file is not loaded, in one line that names what to look for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

from pocketkube.bundle import load_model
from pocketkube.errors import UserError


class Wobble(layers.Layer):
    def call(self, x: Any, scale: Any = None) -> Any:
        return x if scale is None else x * scale

    def compute_output_shape(self, x_shape: Any, scale_shape: Any = None) -> Any:
        return x_shape


class Whole(keras.Model):
    def call(self, x: Any) -> Any:
        return x


class Shrinking(keras.regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        return 0.0

    def get_config(self) -> dict:
        return {}


def wave(x: Any) -> Any:
    return keras.ops.sin(x)


def loss_of_mine(labels: Any, outputs: Any) -> Any:
    return keras.ops.mean(labels - outputs)


INPUTS = keras.Input((4,))
HIDDEN = layers.Dense(3)(INPUTS)


def functional(outputs: Any) -> keras.Model:
    return keras.Model(INPUTS, outputs)


def compiled() -> keras.Model:
    model = functional(HIDDEN)
    model.compile(loss=loss_of_mine)
    return model


def called() -> keras.Model:
    model = Whole()
    model(keras.ops.zeros((1, 4)))
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: functional(Wobble()(HIDDEN)), "uses the class Wobble, which is not known"),
        (lambda: functional(Wobble()(HIDDEN, scale=HIDDEN)), "uses the class Wobble, which is not"),
        (
            lambda: functional(HIDDEN[:, 1:] + Wobble()(HIDDEN)[:, 1:]),
            "uses the class Wobble, which is",
        ),
        (
            lambda: functional(keras.Sequential([keras.Input((3,)), Wobble()])(HIDDEN)),
            "uses the class Wobble, which is not known",
        ),
        (
            lambda: functional(layers.TimeDistributed(Wobble())(layers.Reshape((1, 3))(HIDDEN))),
            "uses the class Wobble, which is not known",
        ),
        (
            lambda: functional(layers.Dense(2, kernel_regularizer=Shrinking())(HIDDEN)),
            "uses the class Shrinking, which is not known",
        ),
        (
            lambda: functional(layers.Dense(2, activation=wave)(HIDDEN)),
            "uses the function wave, which is not known",
        ),
        (
            lambda: functional(Wobble()(layers.Dense(2, activation=wave)(HIDDEN))),
            "uses the function wave and the class Wobble, which are not known here: name the module",
        ),
        (
            lambda: functional(layers.Dense(2, activation=lambda x: 2 * x, name="twice")(HIDDEN)),
            "has code that safe mode does not run: the activation of twice is a lambda: build",
        ),
        (compiled, "uses the function loss_of_mine, which is not known"),
        (called, "uses the class Whole, which is not known"),
    ],
)
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_what_is_not_known_is_named(tmp_path: Path, make: Callable[[], keras.Model], said: str) -> None:
    mine = (Wobble, Whole, Shrinking, wave, loss_of_mine)
    for one in mine:
        keras.saving.register_keras_serializable("mine")(one)
    make().save(tmp_path / "net.keras")
    for one in mine:
        keras.saving.get_custom_objects().pop(f"mine>{one.__name__}", None)
    with pytest.raises(UserError) as caught:
        load_model(tmp_path / "net.keras")
    assert f"net.keras {said}" in str(caught.value)
