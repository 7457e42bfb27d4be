"""What may not be cut is left: channels that are mixed, joined with constants, or given to others."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.surgery import remove_channels
from tests.graph.silence import silence_every_other_unit
from tests.graph.test_surgery import random_weights


@keras.saving.register_keras_serializable("tests")
def shares(x: object) -> object:
    """Each channel in parts of all, as softmax is."""
    return ops.softmax(x)


@keras.saving.register_keras_serializable("tests")
def doubled_relu(x: object) -> object:
    return 2 * ops.relu(x)


def between(middle: layers.Layer) -> keras.Model:
    """A layer among dense ones, on a sequence."""
    x = inputs = keras.Input((6, 4))
    for layer in (layers.Dense(12), middle, layers.Dense(8), layers.Dense(5)):
        x = layer(x)
    return keras.Model(inputs, x)


MIXING = {
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(8, activation="softmax")),
    "SimpleRNN": lambda: layers.SimpleRNN(8, activation="softmax", return_sequences=True),
    "LSTM": lambda: layers.LSTM(8, activation="softmax", return_sequences=True),
    "GRU gates": lambda: layers.GRU(8, recurrent_activation="softmax", return_sequences=True),
    "DepthwiseConv1D": lambda: layers.DepthwiseConv1D(3, padding="same", activation="softmax"),
    "EinsumDense": lambda: layers.EinsumDense("abc,bd->adc", (6, 12), activation="softmax"),
    "Dense with a layer": lambda: layers.Dense(8, activation=layers.Softmax()),
    "Activation of a layer": lambda: layers.Activation(layers.Softmax()),
    "Dense with a function": lambda: layers.Dense(8, activation=shares),
    "Activation of a function": lambda: layers.Activation(shares),
}


def refuse_other_outputs(model: keras.Model) -> keras.Model:
    """Cuts every other unit that may go, where nothing reads it, and gives what is left."""
    random_weights(model, np.random.default_rng(0))
    graph = trace_channels(model)
    keep = silence_every_other_unit(graph)
    smaller = remove_channels(model, graph, keep)
    rng = np.random.default_rng(1)
    x = [rng.normal(size=(2, *each.shape[1:])).astype("float32") for each in model.inputs]
    wanted, given = (keras.tree.flatten(each(x[0])) for each in (model, smaller))
    for one, other in zip(wanted, given, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)
    return smaller


@pytest.mark.parametrize("name", MIXING)
def test_channels_that_an_activation_mixes_stay(name: str) -> None:
    layer = MIXING[name]()
    smaller = refuse_other_outputs(between(layer))
    assert smaller.get_layer(layer.name).output.shape == layer.output.shape


def test_a_layer_as_an_activation_is_not_said_to_mix_channels() -> None:
    inputs = keras.Input((6, 4))
    x = layers.Dense(8, activation=layers.PReLU(), name="inside")(inputs)
    x = layers.Activation(layers.PReLU(), name="around")(layers.Dense(8)(x))
    x = layers.PReLU()(layers.Dense(8, name="before")(x))
    model = keras.Model(inputs, layers.Dense(5)(x))
    graph = trace_channels(model)
    why = "its activation is the layer PReLU, which can be cut only as a layer behind this one"
    assert graph.left_whole == (f"inside (Dense): {why}", f"around (Activation): {why}")
    assert [group.name for group in graph.groups] == ["before"]
    refuse_other_outputs(model)


def test_a_function_of_ones_own_that_mixes_nothing_may_be_cut() -> None:
    smaller = refuse_other_outputs(between(layers.Dense(8, activation=doubled_relu, name="own")))
    assert smaller.get_layer("own").units == 4


def test_heads_whose_scores_are_given_stay() -> None:
    inputs = keras.Input((6, 4))
    attention = layers.MultiHeadAttention(2, 8, output_shape=12, name="attention")
    x, scores = attention(inputs, inputs, return_attention_scores=True)
    smaller = refuse_other_outputs(keras.Model(inputs, [layers.Dense(5)(x), scores]))
    assert smaller.get_layer("attention").output[0].shape == (None, 6, 6)
    assert smaller.outputs[1].shape == (None, 2, 6, 6)


def test_the_gate_of_attention_loses_its_heads() -> None:
    inputs = keras.Input((6, 4))
    x = layers.MultiHeadAttention(4, 8, use_gate=True, name="attention")(inputs, inputs)
    smaller = refuse_other_outputs(keras.Model(inputs, layers.Dense(5)(x)))
    assert smaller.get_layer("attention").num_heads == 2


@pytest.mark.parametrize("layer", [layers.Add, layers.Multiply, layers.Maximum])
def test_what_a_layer_joins_with_constants_stays(layer: type[layers.Layer]) -> None:
    inputs = keras.Input((6, 4))
    x = layer()([layers.Dense(12)(inputs), ops.ones((1, 6, 12))])
    model = keras.Model(inputs, layers.Dense(5)(layers.Dense(8)(x)))
    assert refuse_other_outputs(model).count_params() < model.count_params()


def test_channels_first_is_not_taken_for_channels_last() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="convolution")(inputs)
    x = layers.Permute((3, 1, 2))(x)
    x = layers.Flatten(data_format="channels_first")(x)
    smaller = refuse_other_outputs(keras.Model(inputs, layers.Dense(5)(layers.Dense(8)(x))))
    assert smaller.get_layer("convolution").filters == 8


@pytest.mark.parametrize("width", [8, 12])
def test_a_layer_without_weights_ties_nothing_where_it_is_called(width: int) -> None:
    relu, inputs = layers.ReLU(), keras.Input((6, 4))
    x = relu(layers.Dense(8, name="one")(relu(inputs)))
    x = relu(layers.Dense(width, name="two")(x))
    graph = trace_channels(keras.Model(inputs, layers.Dense(5)(x)))
    assert [str(group) for group in graph.groups] == [
        "one: 8 units of one",
        f"two: {width} units of two",
    ]
    assert graph.left_whole == ()


def test_what_a_model_within_ties_where_it_is_called_again_is_told() -> None:
    any_width = keras.Input((None, None))
    within = keras.Model(any_width, layers.ReLU(name="relu")(any_width), name="within")
    inputs = keras.Input((6, 4))
    x = within(layers.Dense(8, name="one")(inputs))
    x = within(layers.Dense(12, name="two")(x))
    graph = trace_channels(keras.Model(inputs, layers.Dense(5, name="head")(x)))
    said = "within/relu (ReLU): it is called again with another number of channels"
    assert graph.left_whole == (said,)
    assert graph.why_nothing_goes() == f"What head makes goes out of the model. {said}."


def test_a_layer_that_reads_the_model_s_input_and_its_own_channels_says_why_they_stay() -> None:
    inputs = keras.Input((6, 8))
    shared = layers.Dense(8, name="shared")
    graph = trace_channels(keras.Model(inputs, layers.Dense(5)(shared(shared(inputs)))))
    said = "it is called again with channels that stay, as those of the model's inputs do"
    assert graph.left_whole == (f"shared (Dense): {said}",)


def test_groups_that_read_the_model_s_input_lose_the_same_filters_each() -> None:
    inputs = keras.Input((6, 4))
    x = layers.Conv1D(16, 3, groups=4, activation="relu", name="grouped")(inputs)
    smaller = refuse_other_outputs(keras.Model(inputs, layers.Dense(5)(x)))
    grouped = smaller.get_layer("grouped")
    assert (grouped.groups, grouped.filters) == (4, 8)


@pytest.mark.parametrize("layer", [layers.Conv1D(16, 3, groups=8), layers.GroupNormalization(2)])
def test_groups_of_channels_of_which_some_stay_say_so(layer: layers.Layer) -> None:
    inputs = keras.Input((6, 4))
    x = layers.Concatenate()([layers.Dense(12, name="made")(inputs), inputs])
    model = keras.Model(inputs, layers.Dense(5)(layer(x)))
    why = "it joins them with channels that stay, as those of the model's inputs do"
    assert trace_channels(model).left_whole == (f"{layer.name} ({type(layer).__name__}): {why}",)
    refuse_other_outputs(model)
