"""Chooses a quantisation range from observed values: min-max, percentile or least squared error."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from pocketkube.errors import UserError
from pocketkube.quantization.levels import Levels, grid_of

Calibration = Literal["minmax", "percentile", "mse"]
PERCENTILE = 99.99
SHRINK_FACTORS = np.linspace(0.02, 1.0, 99)


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
    best = np.full(values.shape[1], np.inf)
    ends = np.stack([low, high])
    for factor in SHRINK_FACTORS[::-1]:
        scale, zero_point = (a.numpy() for a in grid_of(low * factor, high * factor, levels, symmetric))
        rounded = np.clip(np.rint(values / scale), levels.low - zero_point, levels.high - zero_point)
        error = np.square(rounded * scale - values).sum(axis=0)
        better = error < best
        best = np.where(better, error, best)
        ends = np.where(better, np.stack([low * factor, high * factor]), ends)
    return ends[0].astype(np.float32), ends[1].astype(np.float32)


CALIBRATIONS: dict[str, Callable[[np.ndarray, Levels, bool], tuple[np.ndarray, np.ndarray]]] = {
    "minmax": _extremes,
    "percentile": _percentiles,
    "mse": _least_error,
}
