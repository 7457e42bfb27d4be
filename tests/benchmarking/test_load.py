"""A benchmark goes on until it knows, and says when the machine was not its own."""

import os

import numpy as np
import pytest

from pocketkube.benchmarking.latency import further_runs
from pocketkube.benchmarking.machine_load import Activity, Watch, load_of
from pocketkube.spec.sections import Benchmark

QUIET = Activity(cores=2, others_cores=0.1, load_average=0.4)
SETTINGS = Benchmark(runs=100, precision=0.05, max_seconds=30)


def times(ratio_noise: float, runs: int = 100) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    fast = 1.0 + 0.01 * rng.random(runs)
    return [2.0 * fast * np.exp(ratio_noise * rng.normal(size=runs)), fast]


def test_it_goes_on_until_the_interval_is_narrow() -> None:
    assert further_runs(times(0.01), SETTINGS, 1.0) == 0
    assert further_runs(times(0.5), SETTINGS, 1.0) == 100
    assert further_runs(times(0.5, 200), SETTINGS, 1.0) == 200
    wide = SETTINGS.model_copy(update={"precision": 0.5})
    assert further_runs(times(0.5), wide, 1.0) == 0


def test_it_ends_at_ten_times_the_runs_or_when_time_is_up() -> None:
    assert further_runs(times(0.9, 800), SETTINGS, 1.0) == 200
    assert further_runs(times(0.9, 1000), SETTINGS, 1.0) == 0
    # 100 runs took 20 s: 10 s are left.
    assert further_runs(times(0.9), SETTINGS, 20.0) == 50
    assert further_runs(times(0.9), SETTINGS, 31.0) == 0


def test_a_limit_is_told_from_the_median_where_it_can_be() -> None:
    steady = times(0.01)
    median = float(np.median(steady[-1]))
    assert further_runs(steady, SETTINGS, 1.0, limit_ms=median) == 100
    assert further_runs(steady, SETTINGS, 1.0, limit_ms=2 * median) == 0


def test_a_single_file_is_judged_by_its_own_median() -> None:
    steady, unsteady = times(0.01)[:1], times(0.9)[:1]
    assert further_runs(steady, SETTINGS, 1.0) == 0
    assert further_runs(unsteady, SETTINGS, 1.0) == 100


def test_a_quiet_machine_is_not_warned_of() -> None:
    assert load_of(QUIET, [times(0.05), times(0.01)]).warnings == ()


@pytest.mark.parametrize(
    ("activity", "series", "said"),
    [
        (Activity(2, 1.3, 3.1), times(0.01), "kept 1.3 of its 2 cores busy"),
        (Activity(2, 1.3, 3.1), times(0.01), "load average 3.1"),
        (Activity(16, 5.0, None), times(0.01), "kept 5.0 of its 16 cores busy while latency was"),
        (QUIET, times(0.5), "the middle half of the ratios of pairs of runs spans"),
        (QUIET, times(0.5)[:1], "the middle half of the runs spans"),
    ],
)
def test_what_makes_figures_doubtful_is_said(activity: Activity, series: list, said: str) -> None:
    (warning,) = load_of(activity, [series]).warnings
    assert said in warning


def test_one_program_on_sixteen_cores_is_no_busy_machine() -> None:
    assert load_of(Activity(16, 1.0, 1.5), [times(0.01)]).warnings == ()


def test_throttling_shows_from_the_first_quarter_to_the_last() -> None:
    # As a processor that gets hot halfway: pairs keep their ratio.
    pace = np.where(np.arange(100) < 50, 1.0, 1.3)
    load = load_of(QUIET, [[pace * series for series in times(0.01)]])
    assert load.slowdown == pytest.approx(1.3, rel=0.02)
    (warning,) = load.warnings
    assert "runs of the last quarter took 1.3" in warning
    faster = load_of(QUIET, [[series / pace for series in times(0.01)]])
    assert (faster.slowdown < 1, faster.warnings) == (True, ())
    assert load_of(QUIET, [[s[:20] * np.linspace(1, 2, 20) for s in times(0.01)]]).slowdown == 1


def test_the_worst_thread_count_counts() -> None:
    load = load_of(QUIET, [times(0.01), times(0.5)])
    assert load.spread == load_of(QUIET, [times(0.5)]).spread
    assert len(load.warnings) == 1


def test_other_programs_are_seen_at_work(burners: None) -> None:
    activity = Watch().stop()
    assert activity.cores == os.cpu_count()
    assert activity.others_cores > activity.cores / 2
    assert load_of(activity, [times(0.01)]).warnings
