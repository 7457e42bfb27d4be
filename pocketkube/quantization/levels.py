"""The evenly spaced levels that values are rounded to, and the gradient through the rounding."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Levels:
    """The integers that stand for values.

    Attributes:
        low: The least.
        high: The greatest.
    """

    low: int
    high: int


def signed_levels(bits: int) -> Levels:
    """Levels about a zero point of 0.

    From 4 bits on the lowest is left out, as LiteRT's kernels ask, so that both sides are alike;
    below, one level of eight or four would be too much to lose.
    """
    high = 2 ** (bits - 1) - 1
    return Levels(-high if bits >= 4 else -high - 1, high)


def unsigned_levels(bits: int) -> Levels:
    """Levels from 0 on, for a zero point among them."""
    return Levels(0, 2**bits - 1)


def fake_quantize(x: Any, scale: Any, zero_point: Any, levels: Levels) -> tf.Tensor:
    """Rounds values to the levels and gives what those stand for.

    `s (clip(round(x / s) + z, low, high) - z)`. The gradient takes rounding for the identity, and is 0
    for values beyond the ends. The scale's follows: `round(x / s) - x / s` inside, the end's level
    beyond (learned step size, Esser et al., 2020).

    Args:
        x: Values.
        scale: The distance of two levels, positive: one, or one for each place of the last axis.
        zero_point: The level that stands for 0; a whole number, broadcast likewise.
        levels: The least and the greatest level.

    Returns:
        Values like `x`.
    """
    low, high = levels.low - zero_point, levels.high - zero_point

    # By hand, for this runs over every activation of every step: a third of the time.
    @tf.custom_gradient
    def rounded(x: tf.Tensor, scale: tf.Tensor) -> tuple[tf.Tensor, Any]:
        whole = x / scale
        inside = tf.clip_by_value(whole, low, high)
        level = tf.round(inside)

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            passed = upstream * tf.cast(inside == whole, upstream.dtype)
            shared = list(range(whole.shape.rank - scale.shape.rank))
            return passed, tf.reduce_sum(upstream * level - passed * whole, axis=shared)

        return level * scale, gradients

    return rounded(tf.convert_to_tensor(x), tf.convert_to_tensor(scale))


def scaled_gradient(x: Any, factor: float) -> tf.Tensor:
    """`x`, with its gradient multiplied by `factor`."""
    part = x * factor
    return part + tf.stop_gradient(x - part)


def grid_of(low: Any, high: Any, levels: Levels, symmetric: bool) -> tuple[Any, Any]:
    """Scale and zero point of a range, widened so that it holds 0 and 0 is a level.

    Args:
        low: Its lower ends: an array or a tensor.
        high: Its upper ends.
        levels: The levels that are to span it.
        symmetric: Whether the zero point is 0.

    Returns:
        Scales and zero points, in the shape of the ends.
    """
    low, high = tf.minimum(low, 0.0), tf.maximum(high, 0.0)
    if symmetric:
        scale = tf.maximum(tf.abs(low) / abs(levels.low), high / levels.high)
        return _without_tiny_scales(scale, levels), tf.zeros_like(scale)
    scale = _without_tiny_scales((high - low) / (levels.high - levels.low), levels)
    zero_point = tf.round(levels.low - low / scale)
    return scale, tf.clip_by_value(zero_point, levels.low, levels.high)


def _without_tiny_scales(scale: Any, levels: Levels) -> Any:
    """Scales in which a range that holds next to nothing has the scale of the widest.

    A scale of its own would be so small that no 32 bits could hold a bias in steps of it.
    """
    widest = tf.reduce_max(scale)
    widest = tf.where(widest > SMALLEST_SCALE, widest, 1 / levels.high)
    return tf.where(scale > SMALLEST_RATIO * widest, scale, widest)


SMALLEST_SCALE = np.float32(1e-30)
# Beside the widest, such a range is less than what single precision tells apart.
SMALLEST_RATIO = np.float32(2**-24)
