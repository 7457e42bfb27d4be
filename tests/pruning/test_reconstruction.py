"""What is fitted to examples is held against others: it makes no network worse than the cut alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pocketkube.pruning.batch_statistics import recalibrate, recalibrate_where_better
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.prune import Pruned, prune
from pocketkube.pruning.pruner import Pruner
from pocketkube.pruning.reconstruction import (
    LARGEST_GROWTH,
    POSITIONS,
    drawn_positions,
    matrix_of,
    patches,
)
from pocketkube.spec.sections import PruneChannels


def cross_entropy(labels, outputs):
    return keras.ops.sparse_categorical_crossentropy(labels[0], outputs, from_logits=True)


def table(count: int, seed: int, features: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)


def calibration(x: np.ndarray) -> Calibration:
    labels = np.random.default_rng(0).integers(0, 5, len(x))
    return Calibration((x,), (labels,), cross_entropy)


def bottleneck() -> keras.Model:
    """What `one` gives follows from two numbers, so that nearly all of it is alike; `two` reads it."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(2, name="narrow"),
            layers.Dense(48, activation="gelu", name="one"),
            layers.Dense(24, activation="relu", name="two"),
            layers.Dense(5, name="head"),
        ]
    )


def wide() -> keras.Model:
    """More channels stay than there are examples."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(256, activation="relu", name="one"),
            layers.Dense(24, activation="relu", name="two"),
            layers.Dense(5, name="head"),
        ]
    )


def cut(model: keras.Model, x: np.ndarray, **settings) -> Pruned:
    settings = {"criterion": "l1", "ratios": {"one": 0.5}, "round_to": 1} | settings
    return prune(model, PruneChannels(**settings), calibration=calibration(x))


def away(pruned: Pruned, model: keras.Model, x: np.ndarray) -> float:
    """Mean squared error of the outputs, in parts of their variance."""
    given, wanted = (m.predict(x, verbose=0) for m in (pruned.model, model))
    return float(np.square(given - wanted).mean() / wanted.var())


def growth(pruned: Pruned, model: keras.Model) -> float:
    """How many times larger the largest weight of any kernel has become."""
    return max(
        float(np.abs(layer.kernel).max() / np.abs(model.get_layer(layer.name).kernel).max())
        for layer in pruned.model.layers
        if hasattr(layer, "kernel")
    )


@pytest.mark.parametrize("make", [bottleneck, wide])
@pytest.mark.parametrize("criterion", ["l1", "lasso"])
@pytest.mark.parametrize("count", [32, 512])
def test_a_fit_is_no_worse_on_examples_it_has_not_seen(make, criterion, count) -> None:
    model, unseen = make(), table(2000, 9)
    fitted = cut(model, table(count, 1), criterion=criterion)
    # What lasso chooses is fitted in any case: the cut alone is that of l1.
    plain = cut(model, table(count, 1), reconstruct=False)
    assert away(fitted, model, unseen) < away(plain, model, unseen)
    assert growth(fitted, model) <= LARGEST_GROWTH


def test_an_example_like_no_other_does_not_spoil_the_fit() -> None:
    model, unseen = wide(), table(2000, 9)
    plain = cut(model, table(256, 1), reconstruct=False)
    for place in (0, 3):
        x = table(256, 1)
        x[place] *= 1e4
        fitted = cut(model, x)
        assert away(fitted, model, unseen) < 1.05 * away(plain, model, unseen)
        assert growth(fitted, model) <= LARGEST_GROWTH


@pytest.mark.parametrize("criterion", ["l1", "lasso", "dcp"])
@pytest.mark.parametrize("count", [1, 31])
def test_with_few_examples_nothing_is_fitted_and_it_says_so(criterion: str, count: int) -> None:
    model = bottleneck()
    fitted = cut(model, table(count, 1), criterion=criterion)
    assert any(f"{count} calibration_examples are too few" in note for note in fitted.notes)
    if criterion == "dcp":
        # Its heads are trained with the network.
        return
    before = np.asarray(model.get_layer("two").kernel)
    left = np.asarray(fitted.model.get_layer("two").kernel)
    assert all((row == before).all(axis=1).any() for row in left)


def test_values_that_are_no_numbers_are_not_fitted_to() -> None:
    x = table(64, 1)
    # Finite, but what `one` gives for it is not.
    x[5] *= 1e4
    model = wide()
    model.get_layer("one").activation = keras.activations.exponential
    fitted = cut(model, x)
    assert all(np.isfinite(weight).all() for weight in fitted.model.get_weights())
    (note,) = [note for note in fitted.notes if "not finite" in note]
    assert note.startswith("Weights were not fitted in two")


def test_the_layers_that_were_not_fitted_are_named() -> None:
    """Labels play no part: what `one` gives is noise to `two`, beside what is left of it."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((64,)), layers.Dense(64, name="one"), layers.Dense(8, use_bias=False, name="two")]
    )
    model.get_layer("one").kernel.assign(np.eye(64))
    model.get_layer("two").kernel.assign(np.ones((64, 8)) * np.linspace(1, 2, 64)[:, None])
    x = table(48, 1, 64)
    fitted = cut(model, x)
    assert [note for note in fitted.notes if "not fitted in two: " in note]
    plain = cut(model, x, reconstruct=False)
    unseen = table(2000, 9, 64)
    assert away(fitted, model, unseen) == pytest.approx(away(plain, model, unseen), rel=1e-6)


def with_norm() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(16, name="one"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Dense(5, name="head"),
        ]
    )


@pytest.mark.parametrize("count", [64, 65, 100, 129])
def test_statistics_are_those_of_all_examples_alike(count: int) -> None:
    """A last batch of one counts as one."""
    model, x = with_norm(), table(count, 1)
    recalibrate(model, calibration(x))
    seen = x @ np.asarray(model.get_layer("one").kernel)
    norm = model.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean, seen.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, seen.var(axis=0), rtol=1e-4)


def test_a_channel_that_never_changes_keeps_its_variance() -> None:
    model = with_norm()
    one, norm = model.get_layer("one"), model.get_layer("norm")
    one.kernel.assign(np.asarray(one.kernel) * np.r_[0.0, np.ones(15)])
    norm.moving_variance.assign(np.full(16, 7.0))
    recalibrate(model, calibration(table(64, 1)))
    variance = np.asarray(norm.moving_variance)
    assert variance[0] == 7.0
    assert (variance[1:] != 7.0).all()


@pytest.mark.parametrize("criterion", ["l2", "lasso"])
@pytest.mark.parametrize("reconstruct", [True, False], ids=["fitted", "as_cut"])
def test_frozen_statistics_stay_whatever_is_done(criterion: str, reconstruct: bool) -> None:
    model = with_norm()
    model.get_layer("norm").trainable = False
    model.get_layer("norm").moving_variance.assign(np.full(16, 7.0))
    pruner = Pruner(
        model, criterion=criterion, calibration=calibration(table(64, 1)), reconstruct=reconstruct
    )
    smaller = pruner.to_ratios({"one": 0.5}).model
    np.testing.assert_array_equal(smaller.get_layer("norm").moving_variance, np.full(8, 7.0))
    assert not np.any(smaller.get_layer("norm").moving_mean)


def test_statistics_that_do_worse_are_not_taken() -> None:
    model, x = with_norm(), table(64, 1)
    (labels,) = [np.asarray(model.predict(x, verbose=0)).argmax(axis=1)]
    before = model.get_weights()
    # What is estimated on is unlike what it is held against.
    x[np.arange(64) % 4 != 3] *= 100
    told = recalibrate_where_better(model, Calibration((x,), (labels,), cross_entropy))
    assert "stay as they were" in told[0]
    for now, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, was)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "strides", "dilation"),
    [((3, 3), 1, 1), ((2, 3), (2, 1), 1), ((3, 2), 1, (2, 3)), ((1, 1), 2, 1), ((5, 4), (3, 2), 1)],
)
def test_patches_are_those_of_tensorflow(padding, kernel, strides, dilation) -> None:
    layer = layers.Conv2D(4, kernel, strides, padding, dilation_rate=dilation)
    x = np.random.default_rng(0).normal(size=(3, 11, 8, 5)).astype(np.float32)
    layer.build(x.shape)
    whole = tf.image.extract_patches(
        x,
        sizes=(1, *layer.kernel_size, 1),
        strides=(1, *layer.strides, 1),
        rates=(1, *layer.dilation_rate, 1),
        padding=padding.upper(),
    )
    expected = whole.numpy().reshape(3, -1, whole.shape[-1])
    positions = np.random.default_rng(1).permutation(expected.shape[1])[:7]
    found = patches(layer, x, positions)
    np.testing.assert_array_equal(found, expected[:, positions].reshape(-1, whole.shape[-1]))
    # What the layer gives follows from them.
    everywhere = patches(layer, x, np.arange(expected.shape[1]))
    np.testing.assert_allclose(
        everywhere @ matrix_of(layer), np.asarray(layer(x)).reshape(-1, 4), atol=1e-5
    )


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (3, 11, 5)),
        (layers.Conv1D(4, 4, strides=3, padding="causal"), (3, 11, 5)),
        (layers.Conv1D(4, 4, strides=2, padding="same"), (3, 11, 5)),
        (layers.Conv3D(4, (2, 3, 1), strides=(1, 2, 2), padding="same"), (2, 5, 6, 7, 3)),
        (layers.Conv3D(4, 2, dilation_rate=2), (2, 5, 6, 7, 3)),
    ],
    ids=["dilated", "strided", "same", "volume", "dilated volume"],
)
def test_what_a_layer_gives_follows_from_its_patches_along_one_axis_and_three(layer, shape) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    given = np.asarray(layer(x))
    everywhere = patches(layer, x, np.arange(np.prod(given.shape[1:-1])))
    np.testing.assert_allclose(everywhere @ matrix_of(layer), given.reshape(-1, 4), atol=1e-5)


def test_few_positions_are_all_taken_and_of_many_each_at_most_once() -> None:
    rng, layer = np.random.default_rng(0), layers.Conv2D(2, 3)
    assert drawn_positions(layer, np.zeros((1, 8, 8, 1)), rng).tolist() == list(range(36))
    drawn = drawn_positions(layer, np.zeros((1, 30, 30, 1)), rng)
    assert len(set(drawn.tolist())) == len(drawn) == POSITIONS
    assert drawn.max() < 28 * 28
    dense = layers.Dense(2)
    assert drawn_positions(dense, np.zeros((4, 7)), rng).tolist() == [0]
    assert drawn_positions(dense, np.zeros((4, 3, 5, 7)), rng).tolist() == list(range(15))
