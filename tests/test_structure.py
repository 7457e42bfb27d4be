"""Inputs and outputs go by the names that the model itself gives them, whatever holds them."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.structure import arranged, input_names, output_names


def two_inputs(wrap_inputs: Any, wrap_outputs: Any, names: tuple[str, str] = ("z", "a")) -> keras.Model:
    one, other = keras.Input((2,), name=names[0]), keras.Input((3,), name=names[1])
    outputs = layers.Dense(4, name="four")(one), layers.Dense(5, name="five")(other)
    return keras.Model(wrap_inputs(one, other), wrap_outputs(*outputs))


STRUCTURES = {
    "dict": (lambda a, b: {"z": a, "a": b}, ("a", "z")),
    "sorted dict": (lambda a, b: {"b": a, "c": b}, ("b", "c")),
    "list": (lambda a, b: [a, b], ("z", "a")),
    "tuple": (lambda a, b: (b, a), ("a", "z")),
    "nested dict": (lambda a, b: {"q": {"z": a}, "p": b}, ("p", "q/z")),
    "list of dicts": (lambda a, b: [{"k": b}, {"k": a}], ("0/k", "1/k")),
}


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_flat_list_in_the_order_of_the_inputs_calls_the_model(kind: str) -> None:
    wrap, names = STRUCTURES[kind]
    model = two_inputs(wrap, lambda a, b: [a, b])
    assert input_names(model) == names
    flat = [np.ones((1, *x.shape[1:]), "float32") for x in model.inputs]
    four, five = model(arranged(model, flat))
    assert (four.shape, five.shape) == ((1, 4), (1, 5))


@pytest.mark.parametrize("kind", STRUCTURES)
def test_outputs_are_called_by_their_keys_or_their_layers(kind: str) -> None:
    wrap, names = STRUCTURES[kind]
    by_layer = {"list": ("four", "five"), "tuple": ("five", "four")}
    model = two_inputs(lambda a, b: [a, b], wrap)
    assert output_names(model) == by_layer.get(kind, names)
    # In Keras's own order of outputs.
    sizes = [x.shape[-1] for x in keras.tree.flatten(model([np.ones((1, 2)), np.ones((1, 3))]))]
    assert sizes == [x.shape[-1] for x in model.outputs]


def test_a_layer_that_gives_several_outputs_has_a_name_for_each() -> None:
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, layers.LSTM(2, return_state=True, name="lstm")(inputs))
    assert output_names(model) == ("lstm", "lstm_1", "lstm_2")


def test_a_sequential_model_takes_its_one_tensor() -> None:
    model = keras.Sequential([keras.Input((2,), name="x"), layers.Dense(3, name="y")])
    assert (input_names(model), output_names(model)) == (("x",), ("y",))
    assert model(arranged(model, [np.ones((1, 2))])).shape == (1, 3)
