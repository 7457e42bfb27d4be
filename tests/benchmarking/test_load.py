"""A benchmark goes on until it knows, and says when the machine was not its own."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from pocketkube.benchmarking.clock import Clock, ClockWatch
from pocketkube.benchmarking.latency import further_runs
from pocketkube.benchmarking.machine_load import Activity, Load, Watch, load_of
from pocketkube.benchmarking.timing import Rounds
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


class Heating:
    """A model whose runs take longer once it has run for a while, as on a processor that gets hot.

    The time that they take passes on its own clock: this machine's other programs play no part.
    """

    name = "heating"

    def __init__(self, cool_runs: int, clock: Path | None = None) -> None:
        self.runs, self.cool_runs, self.clock, self.now_ns = 0, cool_runs, clock, 0

    def prepare(self, example: list) -> tuple:
        return tuple(example)

    def invoke(self, prepared: tuple) -> None:
        self.runs += 1
        is_hot = self.runs > self.cool_runs
        if self.clock:
            self.clock.write_text("1200000\n" if is_hot else "2400000\n")
        self.now_ns += 2_000_000 if is_hot else 1_000_000


def measured(model: Heating, watch: ClockWatch, runs: int) -> Load:
    rounds = Rounds([model, model], (np.zeros((4, 1)),))  # type: ignore[list-item]
    watch.begin()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter_ns", lambda: model.now_ns)
        rounds.run(runs, lambda done: watch.look())
    return load_of(QUIET, [rounds.times_ms], watch.clock())


def visible_clock(root: Path, khz: int = 2_400_000) -> Path:
    folder = root / "sys/devices/system/cpu/cpu3/cpufreq"
    folder.mkdir(parents=True)
    (folder / "cpuinfo_max_freq").write_text("2400000\n")
    (folder / "scaling_cur_freq").write_text(f"{khz}\n")
    return folder / "scaling_cur_freq"


def test_a_processor_that_slows_down_while_it_is_timed_was_throttled(tmp_path: Path) -> None:
    clock = visible_clock(tmp_path)
    load = measured(Heating(60, clock), ClockWatch([3], tmp_path, every_s=0), 60)
    assert load.clock == Clock(2400.0, 1200.0, 2400.0)
    assert load.throttled is True
    assert load.slowdown > 1.5
    (warning,) = load.warnings
    assert "was throttled" in warning
    assert "fell from 2400 to 1200 MHz" in warning
    assert f"took {load.slowdown:.2f}x as long" in warning


def test_without_a_visible_clock_the_drift_tells_and_its_cause_stays_open(tmp_path: Path) -> None:
    load = measured(Heating(60), ClockWatch([3], tmp_path, every_s=0), 60)
    assert (load.clock, load.throttled) == (None, None)
    (warning,) = load.warnings
    assert "or another program began" in warning


def test_a_clock_that_stays_speaks_against_throttling(tmp_path: Path) -> None:
    visible_clock(tmp_path)
    load = measured(Heating(60), ClockWatch([3], tmp_path, every_s=0), 60)
    assert load.throttled is False
    (warning,) = load.warnings
    assert "its clock stayed at 2400 MHz" in warning


def test_steady_runs_were_not_throttled_and_few_do_not_tell(tmp_path: Path) -> None:
    watch = ClockWatch([3], tmp_path, every_s=0)
    assert load_of(QUIET, [times(0.01)]).throttled is False
    assert load_of(QUIET, [[series[:20] for series in times(0.01)]]).throttled is None
    watch.begin()
    watch.look()
    assert watch.clock() is None
