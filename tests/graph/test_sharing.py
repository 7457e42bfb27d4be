"""Variables that are shared stay shared: counted by identity, through surgery, save and load."""

import keras
import numpy as np
import pytest

from pocketkube.graph.cost import profile_model
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.surgery import copy_model, remove_channels
from pocketkube.packing import load_packed, write_packed
from tests.graph.silence import silence_every_other_unit
from tests.graph.test_surgery import random_inputs, random_weights
from tests.graph.tied_layers import TIED, assigned, given_to_an_operation

IN_MEMORY = {build.__name__: build for build in (assigned, given_to_an_operation)}


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
