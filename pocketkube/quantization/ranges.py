"""Chooses a quantisation range from observed values: min-max, percentile or least squared error."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from pocketkube.errors import UserError
from pocketkube.quantization.levels import Levels, grid_of

Calibration = Literal["minmax", "percentile", "mse"]
PERCENTILE = 99.99
SHRINK_FACTORS = np.linspace(0.02, 1.0, 99, dtype=np.float32)
STRIDE = 6


def find_range(
    values: np.ndarray, levels: Levels, symmetric: bool, calibration: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """The range of each column of values.

    Args:
        values: `[members, groups]`.
        levels: The levels that will span it.
        symmetric: Whether the zero point will be 0.
        calibration: "minmax": the extremes. "percentile": without one in ten thousand at either end.
            "mse": that of the least squared error after rounding (as in Banner et al., 2019), of
            ranges from the extremes down to a fiftieth of them.

    Returns:
        Lower and upper ends `[groups]`.

    Raises:
        UserError: If a value is not finite.
    """
    if not np.isfinite(values).all():
        raise UserError(
            "quantize_weights: some weights or activations are not finite on the training examples "
            "and have no range; look for such values in the data, or train with a lower learning_rate."
        )
    return CALIBRATIONS[calibration](np.asarray(values, np.float32), levels, symmetric)


def _extremes(values: np.ndarray, levels: Levels, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    return values.min(axis=0), values.max(axis=0)


def _percentiles(values: np.ndarray, levels: Levels, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.percentile(values, [100 - PERCENTILE, PERCENTILE], axis=0)
    return low.astype(np.float32), high.astype(np.float32)


def _least_error(values: np.ndarray, levels: Levels, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    low, high = _extremes(values, levels, symmetric)
    # A narrower range has smaller steps and the same zero point.
    whole, zero_point = (each.numpy() for each in grid_of(low, high, levels, symmetric))
    first, last = levels.low - zero_point, levels.high - zero_point

    def error(places: np.ndarray) -> np.ndarray:
        scale = whole * SHRINK_FACTORS[places]
        missing = np.clip(np.rint(values / scale), first, last)
        missing *= scale
        missing -= values
        return np.square(missing, out=missing).sum(axis=0)

    last_place = len(SHRINK_FACTORS) - 1
    best = np.full(values.shape[1], last_place)
    least = error(best)
    # In strides first, then all about the best of them: the error hardly goes up and down between.
    strides = [np.full_like(best, place) for place in range(last_place - STRIDE, -1, -STRIDE)]
    for find_about in (False, True):
        about = [best + offset for offset in range(-STRIDE + 1, STRIDE) if offset]
        for places in about if find_about else strides:
            inside = np.clip(places, 0, last_place)
            found = error(inside)
            better = found < least
            best, least = np.where(better, inside, best), np.where(better, found, least)
    factors = SHRINK_FACTORS[best]
    return (low * factors).astype(np.float32), (high * factors).astype(np.float32)


CALIBRATIONS: dict[str, Callable[[np.ndarray, Levels, bool], tuple[np.ndarray, np.ndarray]]] = {
    "minmax": _extremes,
    "percentile": _percentiles,
    "mse": _least_error,
}
