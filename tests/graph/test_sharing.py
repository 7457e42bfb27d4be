"""Variables that are shared stay shared: counted by identity, through surgery, save and load."""

import re
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pocketkube.bundle import load_model
from pocketkube.errors import UserError
from pocketkube.graph.cost import profile_model
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.surgery import copy_model, remove_channels
from pocketkube.graph.untied import untied
from pocketkube.packing import load_packed, write_packed
from pocketkube.pruning.prune import prune
from pocketkube.spec.sections import PruneChannels
from tests.graph.silence import silence_every_other_unit
from tests.graph.test_surgery import random_inputs, random_weights
from tests.graph.tied_layers import IN_MEMORY, TIED


def distinct(model: keras.Model) -> list[tuple[int, ...]]:
    """Shapes of a model's variables, each object once, however many layers have it."""
    found = {id(v): tuple(v.shape) for layer in model._flatten_layers() for v in layer.weights}
    return sorted(found.values())


def made(name: str) -> tuple[keras.Model, np.ndarray]:
    keras.utils.set_random_seed(0)
    model = (TIED | IN_MEMORY)[name]()
    random_weights(model, np.random.default_rng(0))
    return model, random_inputs(model, np.random.default_rng(1))


@pytest.mark.parametrize("name", [*TIED, *IN_MEMORY])
def test_a_copy_shares_what_the_model_shares_and_nothing_with_the_model(name):
    model, inputs = made(name)
    copy = copy_model(model)
    assert distinct(copy) == distinct(model)
    before = model(inputs, training=False)
    np.testing.assert_array_equal(copy(inputs, training=False), before)
    # Trained on, the copy is still tied where the model is, and leaves the model alone.
    for variable in copy.trainable_variables:
        variable.assign(2 * variable)
    np.testing.assert_array_equal(model(inputs, training=False), before)
    for variable in model.trainable_variables:
        variable.assign(2 * variable)
    np.testing.assert_array_equal(copy(inputs, training=False), model(inputs, training=False))


@pytest.mark.parametrize("name", [*TIED, *IN_MEMORY])
def test_what_is_cut_is_cut_in_all_places_or_in_none(name):
    model, inputs = made(name)
    graph = trace_channels(model)
    assert graph.groups
    keep = silence_every_other_unit(graph)
    smaller = remove_channels(model, graph, keep)
    np.testing.assert_allclose(
        smaller(inputs, training=False), model(inputs, training=False), rtol=1e-4, atol=1e-4
    )
    assert len(distinct(smaller)) == len(distinct(model))
    assert smaller.count_params() < model.count_params()
    assert profile_model(smaller).parameters == smaller.count_params()


def same(one: keras.Model, other: keras.Model, inputs: np.ndarray) -> None:
    assert distinct(one) == distinct(other)
    np.testing.assert_array_equal(one(inputs, training=False), other(inputs, training=False))


# Keras does not load the others again: a file of its own loses who holds whom.
@pytest.mark.parametrize("name", sorted({*TIED} - {"two_holders", "inside_and_outside"}))
def test_ties_outlast_saving(name, tmp_path):
    model, inputs = made(name)
    graph = trace_channels(model)
    smaller = remove_channels(model, graph, silence_every_other_unit(graph))
    smaller.save(tmp_path / "small.keras")
    again = keras.saving.load_model(tmp_path / "small.keras")
    same(again, smaller, inputs)
    same(copy_model(again), smaller, inputs)


@pytest.mark.parametrize("name", sorted({*TIED} - {"inside_and_outside"}))
def test_ties_outlast_packing(name, tmp_path):
    model, inputs = made(name)
    graph = trace_channels(model)
    smaller = remove_channels(model, graph, silence_every_other_unit(graph))
    write_packed(tmp_path / "small.packed", smaller, {})
    same(load_packed(tmp_path / "small.packed"), smaller, inputs)


def test_the_same_model_packs_to_the_same_file(tmp_path):
    model, _ = made("autoencoder")
    for name, one in (("one", model), ("other", copy_model(model))):
        write_packed(tmp_path / name, one, {})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(
    ("name", "sharing"),
    [
        ("autoencoder", "decoder, encoder share weights"),
        ("two_holders", "one, two share weights"),
        ("assigned", "one, other share weights"),
        ("called_twice", ""),
    ],
)
def test_layers_that_share_are_named(name, sharing):
    notes = [note for note in trace_channels(made(name)[0]).left_whole if "share" in note]
    assert bool(notes) == bool(sharing)
    assert all(note == f"{sharing}: they are left whole" for note in notes)


def test_what_layers_that_share_make_is_not_said_to_go_out_of_the_model():
    graph = trace_channels(made("assigned")[0])
    assert graph.why_nothing_goes() == (
        "What head makes goes out of the model. one, other share weights: they are left whole."
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("assigned", r"other/kernel has the numbers of one/kernel .* 256 parameters more"),
        ("given_to_an_operation", r"matmul\S* computes with a copy of encoder/kernel"),
    ],
)
def test_what_a_file_unties_is_told_once_it_is_loaded(name, said, tmp_path):
    model, _ = made(name)
    assert untied(model) == []
    model.save(tmp_path / "net.keras")
    (sentence,) = untied(keras.saving.load_model(tmp_path / "net.keras"))
    assert re.search(said, sentence)


@pytest.mark.parametrize("name", ["two_holders", "inside_and_outside"])
def test_a_file_that_keras_cannot_load_again_names_the_layer_that_is_held_twice(name, tmp_path):
    made(name)[0].save(tmp_path / "net.keras")
    with pytest.raises(UserError, match=r"no weights for the layer (held|shared) where .* second time"):
        load_model(tmp_path / "net.keras")


def test_what_a_file_keeps_tied_is_not_told_of(tmp_path):
    made("autoencoder")[0].save(tmp_path / "net.keras")
    assert untied(keras.saving.load_model(tmp_path / "net.keras")) == []


class Nameless(keras.layers.Layer):
    """Its config does not say what it is made with."""

    def __init__(self, encoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder

    def call(self, x):
        return keras.ops.matmul(x, keras.ops.transpose(self.encoder.kernel))

    def get_config(self):
        return {"name": self.name}


def test_a_layer_that_cannot_be_made_anew_is_a_mistake_in_its_config():
    inputs = keras.Input((8,))
    encoder = keras.layers.Dense(4)
    model = keras.Model(inputs, Nameless(encoder, name="mine")(encoder(inputs)))
    with pytest.raises(UserError, match=r"mine \(Nameless\) cannot be made anew .*get_config"):
        copy_model(model)


def doubled(x: Any) -> Any:
    """No one told Keras of it."""
    return 2 * x


@keras.saving.register_keras_serializable("tests")
def tripled(x: Any) -> Any:
    """Keras was told of it."""
    return 3 * x


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (layers.Dense(4, activation=lambda x: 2 * x), "a (Dense) {}: its activation is a lambda"),
        (
            layers.Dense(4, activation=partial(keras.ops.leaky_relu, negative_slope=0.3)),
            "a (Dense) {}: its activation is a functools.partial",
        ),
        (
            layers.Dense(4, activation=doubled),
            "a (Dense) {}: its activation is the function doubled, which Keras does not know by name",
        ),
        (
            layers.Dense(4, kernel_regularizer=lambda x: keras.ops.sum(x)),
            "a (Dense) {}: its kernel_regularizer is a lambda",
        ),
        (layers.Lambda(lambda x: 2 * x), "a (Lambda) {}: its function is a lambda"),
        (
            layers.TimeDistributed(layers.Dense(4, activation=lambda x: 2 * x, name="steps")),
            "a (TimeDistributed) {}: the activation of steps in it is a lambda",
        ),
        (layers.SimpleRNN(4, activation=doubled), "a (SimpleRNN) {}: its activation is the function"),
    ],
    ids=["lambda", "partial", "function", "regularizer", "Lambda", "inside", "cell"],
)
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_functions_that_keras_cannot_write_down_are_named(layer: Any, said: str) -> None:
    inputs = keras.Input((5, 4))
    layer.name = "a"
    with pytest.raises(UserError) as caught:
        copy_model(keras.Model(inputs, layer(inputs)))
    message = str(caught.value)
    assert message.startswith(said.format("cannot be made anew"))
    assert "Define a function by def under @keras.saving.register_keras_serializable()" in message
    assert len(message) < 250


def test_an_operation_that_was_given_an_array_says_so() -> None:
    inputs = keras.Input((4,))
    clipped = keras.ops.clip(inputs, -1.0, np.linspace(1, 2, 4, dtype=np.float32))
    with pytest.raises(
        UserError, match=r"\(Clip\) cannot be made anew: it was given an array\. Give it a"
    ):
        copy_model(keras.Model(inputs, clipped))
    clipped = keras.ops.clip(inputs, -1.0, [1.0, 2.0, 3.0, 4.0])
    copy_model(keras.Model(inputs, clipped))


def test_a_function_that_keras_knows_is_kept() -> None:
    """What the message tells to do."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Lambda(tripled)(layers.Dense(4, activation=tripled)(inputs)))
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(np.asarray(copy_model(model)(x)), np.asarray(model(x)))


def test_an_autoencoder_keeps_its_tie_while_it_is_pruned():
    model, _ = made("autoencoder")
    pruned = prune(model, PruneChannels(criterion="l2", round_to=1), speedup=1.3)
    assert pruned.before.parameters == model.count_params() == 1232
    assert len(distinct(pruned.model)) == len(distinct(model)) == 7
    assert pruned.after.parameters == pruned.model.count_params() < 1232
    assert any("decoder, encoder share weights" in note for note in pruned.notes)
    decoder, encoder = (pruned.model.get_layer(name) for name in ("decoder", "encoder"))
    assert decoder.encoder is encoder


def tanh(x: Any) -> Any:
    """Called as Keras's, and another function."""
    return 0.5 * keras.ops.tanh(x)


@pytest.mark.parametrize("activation", [tf.nn.tanh, keras.ops.tanh, tanh])
def test_a_copy_keeps_functions_that_are_called_as_keras_s(activation: Any) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 4))
    outputs = [
        layers.LSTM(4, activation=activation)(inputs),
        layers.GRU(4, recurrent_activation=activation)(inputs),
        layers.Bidirectional(layers.SimpleRNN(4, activation=activation))(inputs),
        layers.RNN(layers.LSTMCell(4, activation=activation))(inputs),
        layers.TimeDistributed(layers.Dense(4, activation=activation))(inputs),
        layers.Activation(activation)(inputs),
    ]
    model = keras.Model(inputs, outputs)
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    for ours, theirs in zip(copy_model(model)(x), model(x), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@keras.saving.register_keras_serializable("tests")
class Scaled(layers.Layer):
    """Its activation is a function of its own weight."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.alpha = self.add_weight(shape=(), initializer="ones", name="alpha")
        self.activation = lambda x: keras.ops.relu(x) * self.alpha

    def call(self, x: Any) -> Any:
        return self.activation(x)


def test_a_copy_s_function_reads_the_copy_s_weights() -> None:
    inputs = keras.Input((4,))
    copy = copy_model(keras.Model(inputs, Scaled()(inputs)))
    x = np.ones((2, 4), np.float32)
    copy.layers[1].alpha.assign(3.0)
    np.testing.assert_array_equal(np.asarray(copy(x)), 3 * x)
