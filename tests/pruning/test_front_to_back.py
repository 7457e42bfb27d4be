"""A cut network is fitted layer by layer, and comes nearer to the uncut one at each of them."""

import tempfile
import warnings

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.graph.dependency import ChannelGraph, trace_channels
from pocketkube.graph.surgery import copy_model, remove_channels
from pocketkube.pruning import front_to_back
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.front_to_back import (
    fit_front_to_back,
    fit_where_better,
    fitted_paths,
    wanted_outputs,
)
from pocketkube.pruning.pruner import Pruner
from tests.graph.own_nets import HalfNorm


def cross_entropy(labels, outputs):
    return keras.ops.sparse_categorical_crossentropy(labels[0], outputs, from_logits=True)


def images(count: int, seed: int) -> np.ndarray:
    """Smooth ones: neighbours are alike, as in pictures."""
    coarse = np.random.default_rng(seed).normal(size=(count, 4, 4, 3))
    return np.kron(coarse, np.ones((1, 3, 3, 1))).astype(np.float32)


def calibration(x: np.ndarray) -> Calibration:
    return Calibration((x,), (np.random.default_rng(0).integers(0, 5, len(x)),), cross_entropy)


def network() -> keras.Model:
    keras.utils.set_random_seed(4)
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="one")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    y = layers.Conv2D(12, 3, strides=2, padding="same", name="two")(x)
    x = layers.ReLU()(y)
    x = layers.Conv2D(12, 3, padding="same", name="three")(x)
    x = layers.Add()([x, y])
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    return keras.Model(inputs, layers.Dense(5, name="head")(x))


def cut(model: keras.Model) -> tuple[keras.Model, ChannelGraph, np.ndarray]:
    """The network without half of the first layer's channels."""
    graph = trace_channels(model)
    keep = np.ones(graph.units.count, bool)
    (group,) = [group for group in graph.groups if group.name == "one"]
    keep[group.units[::2]] = False
    return remove_channels(model, graph, keep), graph, keep


def outputs(model: keras.Model, name: str, x: np.ndarray) -> np.ndarray:
    """A second way: Keras computes the network as far as a layer."""
    part = keras.Model(model.inputs, model.get_layer(name).output)
    return np.asarray(part.predict(x, verbose=0))


def fitted(x: np.ndarray) -> tuple[keras.Model, dict[str, str]]:
    model = network()
    smaller, graph, keep = cut(model)
    examples = calibration(x)
    wanted = wanted_outputs(model, fitted_paths(graph), examples, 0)
    return smaller, fit_front_to_back(smaller, graph, keep, wanted, examples)


def test_outputs_of_fitted_layers_are_nearer_to_the_uncut_networks() -> None:
    model, unseen = network(), images(200, 9)
    plain, _, _ = cut(model)
    nearer, not_fitted = fitted(images(256, 1))
    assert not_fitted == {}
    for name in ("two", "three", "head"):
        wanted = outputs(model, name, unseen)
        before, after = (
            np.square(outputs(m, name, unseen) - wanted).mean() / wanted.var() for m in (plain, nearer)
        )
        assert after < 0.5 * before


def test_statistics_are_those_of_what_reaches_the_norm() -> None:
    x = images(256, 1)
    smaller, _ = fitted(x)
    # One in four is held back.
    seen = outputs(smaller, "one", np.concatenate([x[i::4] for i in range(3)]))
    norm = smaller.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, seen.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, seen.var(axis=(0, 1, 2)), rtol=1e-4)


def tower() -> keras.Model:
    """A stem, and layers that read what it gives twice; the stem's statistics are of other images."""
    keras.utils.set_random_seed(4)
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="stem")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    hidden = layers.Conv2D(16, 3, padding="same", activation="relu", name="hidden")
    scores = layers.Conv2D(5, 3, padding="same", name="scores")
    read = [scores(hidden(each)) for each in (x, layers.MaxPooling2D()(x))]
    model = keras.Model(inputs, layers.Add()([layers.GlobalAveragePooling2D()(y) for y in read]))
    model.get_layer("norm").moving_variance.assign(np.full(16, 30.0))
    return model


def answers(x: np.ndarray, model: keras.Model) -> Calibration:
    """Examples whose labels are the model's own outputs."""

    def distance(labels, outputs):
        return keras.ops.mean(keras.ops.square(labels[0] - outputs), axis=-1)

    return Calibration((x,), (model.predict(x, verbose=0),), distance)


def test_statistics_that_layers_which_are_not_fitted_would_have_to_make_up_for_stay() -> None:
    model, x = tower(), images(128, 1)
    pruner = Pruner(model, criterion="l2", calibration=answers(x, model), round_to=1)
    found = pruner.to_ratios({"hidden": 0.25})
    for name in ("stem", "norm"):
        ours, theirs = (m.get_layer(name).get_weights() for m in (found.model, model))
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    plain = Pruner(model, criterion="l2", round_to=1).to_ratios({"hidden": 0.25}).model
    np.testing.assert_allclose(
        found.model.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )
    assert any(note.startswith("BatchNorm's statistics stay as they were") for note in found.notes)


def test_where_the_fit_is_one_nothing_is_taken_back() -> None:
    model, x = network(), images(256, 1)
    smaller, graph, keep = cut(model)
    examples = answers(x, model)
    same = copy_model(smaller)
    paths = fitted_paths(graph)
    told = fit_where_better(
        smaller, graph, keep, lambda: wanted_outputs(model, paths, examples, 0), examples
    )
    assert told == ({}, [])
    fit_front_to_back(same, graph, keep, wanted_outputs(model, paths, examples, 0), examples)
    for one, other in zip(smaller.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_frozen_norm_keeps_its_statistics_and_what_reads_it_is_fitted() -> None:
    model, x = network(), images(256, 1)
    model.get_layer("norm").moving_variance.assign(np.full(16, 30.0))
    model.get_layer("norm").trainable = False
    smaller, graph, keep = cut(model)
    examples, paths, plain = answers(x, model), fitted_paths(graph), copy_model(smaller)
    fit_front_to_back(smaller, graph, keep, wanted_outputs(model, paths, examples, 0), examples)
    ours, theirs = (m.get_layer("norm").get_weights() for m in (smaller, plain))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    unseen = images(100, 9)
    wanted = model.predict(unseen, verbose=0)
    off = [np.square(m.predict(unseen, verbose=0) - wanted).mean() for m in (plain, smaller)]
    assert off[1] < 0.5 * off[0]


def test_a_norm_that_computes_otherwise_keeps_its_statistics() -> None:
    x = inputs = keras.Input((12, 12, 3))
    x = layers.ReLU()(layers.Conv2D(8, 3, name="one")(x))
    x = HalfNorm(name="norm")(layers.Conv2D(6, 3, name="two")(x))
    model = keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))
    smaller, graph, keep = cut(model)
    examples = calibration(images(64, 1))
    wanted = wanted_outputs(model, fitted_paths(graph), examples, 0)
    fit_front_to_back(smaller, graph, keep, wanted, examples)
    for was, now in zip(*(m.get_layer("norm").get_weights() for m in (model, smaller)), strict=True):
        np.testing.assert_array_equal(was, now)


def test_what_memory_does_not_hold_lies_in_files_that_are_gone_after(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    x = images(128, 1)
    in_memory, _ = fitted(x)
    monkeypatch.setattr(front_to_back, "MOST_BYTES_IN_MEMORY", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = network()
    _, graph, _ = cut(model)
    wanted = list(wanted_outputs(model, fitted_paths(graph), calibration(x), 0))
    assert all(isinstance(rows, np.memmap) for each in wanted for rows in each.outputs)
    in_files, _ = fitted(x)
    # Of all that is kept at a time, not of each layer.
    monkeypatch.setattr(front_to_back, "MOST_BYTES_IN_MEMORY", 30_000)
    wanted = list(wanted_outputs(model, fitted_paths(graph), calibration(x), 0))
    held = [rows for each in wanted for rows in each.outputs if not isinstance(rows, np.memmap)]
    assert 0 < sum(rows.nbytes for rows in held) <= 30_000
    for one, other in zip(in_memory.get_weights(), in_files.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert list(tmp_path.iterdir()) == []


def test_the_uncut_network_is_left_as_it_is_and_stays_so_where_nothing_is_cut() -> None:
    model, x = network(), images(128, 1)
    graph, examples = trace_channels(model), calibration(x)
    same = copy_model(model)
    wanted = wanted_outputs(model, fitted_paths(graph), examples, 0)
    before = model.get_weights()
    assert fit_front_to_back(same, graph, np.ones(graph.units.count, bool), wanted, examples) == {}
    for now, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, was)
    for name in ("one", "two", "three", "head"):
        for now, was in zip(
            same.get_layer(name).get_weights(), model.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(now, was)


def test_what_is_not_finite_is_said_and_warns_of_nothing() -> None:
    x = images(64, 1)
    x[5] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        smaller, not_fitted = fitted(x)
    assert set(not_fitted) == {"two", "three", "head"}
    assert all("not finite" in why for why in not_fitted.values())
    for name in ("two", "three", "head"):
        assert all(np.isfinite(weight).all() for weight in smaller.get_layer(name).get_weights())
