"""Values land on levels as the papers say, and gradients go through."""

import numpy as np
import pytest
import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.quantization.groups import Groups
from pocketkube.quantization.levels import (
    Levels,
    fake_quantize,
    grid_of,
    signed_levels,
    unsigned_levels,
)
from pocketkube.quantization.ranges import find_range

SHAPES = {(3, 3, 5, 7): (3,), (3, 3, 6, 2): (2, 3), (11, 4): (1,), (2, 2, 6, 5): (2,)}


def test_levels_leave_the_lowest_out_where_litert_does() -> None:
    assert [signed_levels(bits) for bits in (2, 3, 4, 8)] == [
        Levels(-2, 1),
        Levels(-4, 3),
        Levels(-7, 7),
        Levels(-127, 127),
    ]


def test_the_gradient_is_that_of_learned_step_size() -> None:
    x = np.array([-9.0, -0.6, 0.2, 0.74, 3.0], np.float32)
    scale, levels = tf.constant(0.5), signed_levels(3)
    value = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([value, scale])
        given = fake_quantize(value, scale, 0.0, levels)
    # -9 and 3 lie beyond -4 * 0.5 and 3 * 0.5.
    np.testing.assert_allclose(given, [-2.0, -0.5, 0.0, 0.5, 1.5])
    np.testing.assert_array_equal(tape.gradient(given, value), [0, 1, 1, 1, 0])
    inside = np.rint(x / 0.5) - x / 0.5
    wanted = [-4, inside[1], inside[2], inside[3], 3]
    assert float(tape.gradient(given, scale)) == pytest.approx(sum(wanted), abs=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_zero_is_a_level_of_every_grid(symmetric: bool) -> None:
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.normal(size=(2, 100)), axis=0).astype(np.float32)
    levels = signed_levels(4) if symmetric else unsigned_levels(4)
    scale, zero_point = grid_of(low, high, levels, symmetric)
    np.testing.assert_array_equal(np.rint(zero_point), zero_point)
    np.testing.assert_array_equal(fake_quantize(tf.zeros(100), scale, zero_point, levels), 0)
    # The ends are within half a step of a level.
    for end in (np.minimum(low, 0), np.maximum(high, 0)):
        given = fake_quantize(end, scale, zero_point, levels).numpy()
        assert (np.abs(given - end) <= scale.numpy() / 2 + 1e-6).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_range_of_next_to_nothing_has_the_scale_of_the_widest(symmetric: bool) -> None:
    levels = signed_levels(8) if symmetric else unsigned_levels(8)
    high = np.array([0.0, 1e-9, 2.0, 1e-3], np.float32)
    scale, _ = (a.numpy() for a in grid_of(0 * high, high, levels, symmetric))
    np.testing.assert_array_equal(scale[:2], scale[2])
    assert scale[3] == np.float32(1e-3) / levels.high
    nothing, _ = grid_of(np.zeros(2), np.zeros(2), levels, symmetric)
    assert (np.asarray(nothing) > 1e-3).all()


def test_the_range_of_least_error_beats_the_extremes_where_there_are_outliers() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4000, 3)).astype(np.float32)
    values[0] = 30.0
    levels = signed_levels(4)

    def error(calibration) -> np.ndarray:
        scale, zero = grid_of(*find_range(values, levels, True, calibration), levels, True)
        given = fake_quantize(values, scale, zero, levels).numpy()
        return np.square(given - values).mean(axis=0)

    assert (error("mse") < 0.5 * error("minmax")).all()
    assert (error("mse") <= error("percentile")).all()
    # No scale of a finer search is better by more than the search's step allows.
    best = min(
        float(tf.reduce_mean(tf.square(fake_quantize(values[:, 0], s, 0.0, levels) - values[:, 0])))
        for s in np.linspace(0.05, 4.3, 2000, dtype=np.float32)
    )
    assert error("mse")[0] <= 1.02 * best


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_has_no_range(calibration, value: float) -> None:
    values = np.ones((100, 2), np.float32)
    values[7, 1] = value
    with pytest.raises(UserError, match="not finite on the training examples"):
        find_range(values, signed_levels(8), True, calibration)


@pytest.mark.parametrize("granularity", ["tensor", "channel", "bucket"])
@pytest.mark.parametrize("shape", SHAPES)
def test_groups_take_apart_and_put_together_as_storage_does(shape, granularity) -> None:
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    groups = Groups(shape, SHAPES[shape], granularity, bucket_size=4)
    matrix = groups.split(kernel)
    np.testing.assert_array_equal(groups.join(matrix), kernel)
    owners = groups.blocks.owners(shape)
    assert groups.blocks.count(shape) == matrix.shape[1]
    for number, column in enumerate(matrix.numpy().T):
        assert sorted(column[column != 0]) == sorted(kernel[owners == number])
