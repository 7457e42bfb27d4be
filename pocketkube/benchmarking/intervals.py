"""A median and how far it is to be trusted, from measurements that depend on those before them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log10, sqrt

import numpy as np

CONFIDENCE = 0.95
_RESAMPLES = 1000
# Numbers that are resampled at a time: 8 MB.
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A median with its interval of 95 % confidence, in the unit of what was measured.

    The interval tells how sure the median is of these measurements, on the machine as it was: what lay
    on it all along (another program, a slow clock) it does not know of.
    """

    value: float
    low: float
    high: float

    @property
    def relative_width(self) -> float:
        """How wide the interval is, as a part of the value."""
        return (self.high - self.low) / self.value


def ratio_estimate(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """How many times longer one model takes than another that ran in turn with it.

    It is the median of the ratios pair by pair: what slows the machine for longer than a pair slows
    both of it, and cancels out; what hits one run alone makes one ratio odd, which a median bears.

    Args:
        before: Times of one model, in the order that they were taken.
        after: Times of the other one, each taken right after the one of the same place.
    """
    return median_estimate(np.asarray(before) / np.asarray(after))


def median_estimate(series: Sequence[float] | np.ndarray) -> Estimate:
    """The median of a series, with the percentile interval of a circular block bootstrap.

    Neighbours in a series of times resemble each other: a busy second is many runs long. Drawing
    single values would take them for independent and the interval would be too narrow, so blocks are
    drawn, each as long as the dependence asks (Politis and Romano, 1992), from a fixed seed.

    Args:
        series: The values, in the order that they were taken; at least one.
    """
    values = np.asarray(series, np.float64)
    median = float(np.median(values))
    # The median's error is that of the part of values below it, so that is what must not depend.
    length = block_length(values > median)
    medians = _resampled_medians(values, length, np.random.default_rng(0))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return Estimate(median, float(low), float(high))


def block_length(series: Sequence[float] | np.ndarray) -> int:
    """The length of block that suits a circular block bootstrap of a series.

    It is the rule of Politis and White (2004) with the correction of Patton, Politis and White
    (2009): autocovariances up to twice the lag after which none is told from chance, in a flat-top
    window. Independent values give 1.
    """
    values = np.asarray(series, np.float64)
    values = values - values.mean()
    size = len(values)
    variance = float(values @ values) / size
    if size < 4 or variance == 0:
        return 1
    longest = min(size - 1, ceil(sqrt(size)) + max(5, ceil(sqrt(log10(size)))))
    covariances = np.array([values[lag:] @ values[: size - lag] for lag in range(longest + 1)]) / size
    window = 2 * _last_lag(covariances / variance, size)
    lags = np.arange(1, min(window, longest) + 1)
    weighted = np.clip(2 * (1 - lags / max(window, 1)), 0, 1) * covariances[lags]
    slope, spectrum = 2 * float(lags @ weighted), variance + 2 * float(weighted.sum())
    if spectrum <= 0:
        return 1
    length = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * size ** (1 / 3)
    return int(np.clip(round(length), 1, ceil(min(3 * sqrt(size), size / 3))))


def _last_lag(correlations: np.ndarray, size: int) -> int:
    """The lag after which a run of autocorrelations is within what chance gives."""
    run = max(5, ceil(sqrt(log10(size))))
    large = np.abs(correlations[1:]) >= 2 * sqrt(log10(size) / size)
    for lag in range(len(large)):
        if not large[lag : lag + run].any():
            return lag
    return len(large)


def _resampled_medians(values: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    size = len(values)
    blocks, steps = ceil(size / length), np.arange(length)
    rows = max(1, _AT_ONCE // size)
    medians = []
    for first in range(0, _RESAMPLES, rows):
        starts = rng.integers(0, size, (min(rows, _RESAMPLES - first), blocks, 1))
        places = ((starts + steps) % size).reshape(len(starts), -1)[:, :size]
        medians.append(np.median(values[places], axis=1))
    return np.concatenate(medians)
