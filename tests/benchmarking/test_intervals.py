"""The interval of a median holds what it says, of independent and of dependent measurements."""

import numpy as np
import pytest
from scipy import stats

from pocketkube.benchmarking.intervals import block_length, median_estimate, ratio_estimate

SEEDS = 100
# Of 100 intervals of 95 % confidence, fewer than these hold once in some 1,000 such tests.
LEAST_HITS = int(stats.binom.ppf(0.001, SEEDS, 0.95))


def resembling_neighbours(rng: np.random.Generator, size: int, correlation: float) -> np.ndarray:
    """Normal numbers, each correlated with the one before it (an AR(1) process)."""
    numbers = rng.normal(size=size)
    for place in range(1, size):
        fresh = np.sqrt(1 - correlation**2) * numbers[place]
        numbers[place] = correlation * numbers[place - 1] + fresh
    return numbers


def order_statistics_interval(values: np.ndarray) -> tuple[int, int]:
    """Where the ends of the bootstrap's interval stand among the sorted values, without resampling.

    The median of a resample is at most the k-th value if more than half of the draws are, each of
    which is with probability k / n.
    """
    size = len(values)
    below = 1 - stats.binom.cdf(size // 2, size, np.arange(size + 1) / size)
    return int(np.searchsorted(below, 0.025)) - 1, int(np.searchsorted(below, 0.975)) - 1


@pytest.mark.parametrize("size", [31, 101, 501])
def test_the_interval_is_that_of_the_closed_form_and_of_scipy(size: int) -> None:
    values = np.random.default_rng(3).lognormal(size=size)
    found = median_estimate(values)
    assert found.value == np.median(values)
    places = np.searchsorted(np.sort(values), (found.low, found.high))
    theirs = stats.bootstrap(
        (values,), np.median, n_resamples=1000, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    scipy_places = np.searchsorted(np.sort(values), (theirs.low, theirs.high))
    # An end of 1,000 resamples is off by some half of a percent of probability: a few places.
    near = 1 + 0.05 * np.sqrt(size)
    assert np.abs(places - order_statistics_interval(values)).max() <= near
    assert np.abs(places - scipy_places).max() <= 2 * near


@pytest.mark.parametrize(("size", "correlation"), [(30, 0.0), (100, 0.0), (400, 0.6)])
def test_nineteen_of_twenty_intervals_hold_the_truth(size: int, correlation: float) -> None:
    hits = 0
    for seed in range(SEEDS):
        numbers = resembling_neighbours(np.random.default_rng(seed), size, correlation)
        found = median_estimate(2.0 * np.exp(0.1 * numbers))
        hits += found.low <= 2.0 <= found.high
    assert hits >= LEAST_HITS


def test_single_draws_would_be_too_sure_of_values_that_resemble_their_neighbours() -> None:
    hits = 0
    for seed in range(SEEDS):
        numbers = resembling_neighbours(np.random.default_rng(seed), 400, 0.6)
        low, high = np.sort(numbers)[list(order_statistics_interval(numbers))]
        hits += low <= 0.0 <= high
    assert hits < LEAST_HITS


def test_blocks_are_as_long_as_the_dependence() -> None:
    rng = np.random.default_rng(0)
    lengths = [
        np.median([block_length(resembling_neighbours(rng, 500, rho)) for _ in range(20)])
        for rho in (0.0, 0.5, 0.9)
    ]
    assert lengths[0] <= 2
    assert lengths == sorted(lengths)
    assert 20 < lengths[2] < 100


def test_the_same_series_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).lognormal(size=60)
    assert median_estimate(values) == median_estimate(list(values))


def test_equal_values_and_a_few_have_an_interval() -> None:
    assert median_estimate([2.0] * 50) == median_estimate([2.0])
    few = median_estimate([3.0, 1.0, 2.0])
    assert (few.low, few.value, few.high) == (1.0, 2.0, 3.0)
    assert few.relative_width == 1.0


def busy_half_of_the_time(seed: int, runs: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Times of a file and one that is 1.96x faster, on a machine four times slower in busy spells."""
    rng = np.random.default_rng(seed)
    # 1 in 20 runs a spell begins or ends.
    busy = np.cumsum(rng.random(runs) < 0.05) % 2
    pace = np.where(busy, 4.0, 1.0)
    noise = np.exp(0.05 * rng.normal(size=(2, runs)))
    # 1 run in 20 waits for another program, whichever file it is of.
    waits = np.where(rng.random((2, runs)) < 0.05, 10.0, 0.0)
    slow, fast = np.array([[1.96], [1.0]]) * pace * noise + waits
    return slow, fast


def test_a_ratio_pair_by_pair_is_that_of_the_quiet_machine() -> None:
    hits, medians = 0, []
    for seed in range(SEEDS):
        slow, fast = busy_half_of_the_time(seed)
        found = ratio_estimate(slow, fast)
        assert found.value == pytest.approx(1.96, rel=0.05)
        hits += found.low <= 1.96 <= found.high
        medians.append(np.median(slow) / np.median(fast))
    assert hits >= LEAST_HITS
    # The ratio of the medians, which is what was told before, is far off at times.
    assert max(medians) > 1.96 * 1.4
