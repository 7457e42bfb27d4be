"""Whether the machine was busy or slowed down while latency was measured, and so what it is worth."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from pocketkube.benchmarking.clock import Clock

# Below these, a machine that runs nothing else was seen to stay.
_BUSY_SHARE = 0.25
_WIDE_SPREAD = 0.25
SLOWED_DOWN = 1.1
# Governors change the clock by less without need.
_CLOCK_FELL = 0.1
# Processor time is counted in hundredths of a second: too coarse for less.
_LEAST_SECONDS = 0.25
# A quarter of fewer runs is no median.
_LEAST_RUNS = 40


@dataclass(frozen=True)
class Activity:
    """What a machine did beside this program.

    Attributes:
        cores: Number of logical cores of the machine.
        others_cores: How many of them other programs kept busy meanwhile, in the mean.
        load_average: Programs that ran or waited to, this one among them, over the last minute; None
            where the system does not tell.
    """

    cores: int
    others_cores: float
    load_average: float | None


@dataclass(frozen=True)
class Load:
    """What was going on while latency was measured.

    Attributes:
        activity: What other programs did.
        spread: How far the ratios of pairs (of a single file: the times) are apart: the middle half of
            them, as a part of their median.
        slowdown: How many times longer runs of the last quarter took than those of the first.
        warnings: Why the figures are not to be trusted as they are, a sentence each; empty where the
            machine was quiet.
        clock: The processor's clock meanwhile; None where it is not visible.
        throttled: Whether the processor lowered its clock meanwhile; None where it cannot be told: runs
            slowed down, or there were too few, and the clock is not visible.
    """

    activity: Activity
    spread: float
    slowdown: float
    warnings: tuple[str, ...]
    clock: Clock | None = None
    throttled: bool | None = None


class Watch:
    """Watches what other programs do from its making until `stop`."""

    def __init__(self) -> None:
        self._began, self._others = time.perf_counter(), _others_seconds()

    def stop(self) -> Activity:
        """What they did meanwhile; waits a moment where that was too short to tell."""
        time.sleep(max(0.0, _LEAST_SECONDS - (time.perf_counter() - self._began)))
        seconds = time.perf_counter() - self._began
        others = max(0.0, _others_seconds() - self._others) / seconds
        average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        cores = psutil.cpu_count() or 1
        return Activity(cores, min(others, float(cores)), average)


def load_of(
    activity: Activity, series: Sequence[Sequence[Sequence[float]]], clock: Clock | None = None
) -> Load:
    """Judges whether times were taken on a quiet machine.

    Args:
        activity: What other programs did meanwhile.
        series: For each number of threads, for each file, its times in turn; the worst counts.
        clock: The processor's clock meanwhile, where it is visible.
    """
    spread, slowdown = max(map(_spread, series)), max(map(_slowdown, series))
    warnings = []
    if activity.others_cores > _BUSY_SHARE * activity.cores:
        average = activity.load_average
        load_average = "" if average is None else f" (load average {average:.1f})"
        warnings.append(
            f"The machine was busy: other programs kept {activity.others_cores:.1f} of its "
            f"{activity.cores} cores busy while latency was measured{load_average}; measure again when "
            "nothing else runs (a job does so with pocketkube run --measure-again)."
        )
    if spread > _WIDE_SPREAD:
        what = "the ratios of pairs of runs" if len(series[0]) > 1 else "the runs"
        warnings.append(
            f"Latency was unsteady: the middle half of {what} spans {100 * spread:.0f} % of the median."
        )
    warnings += _throttling(slowdown, clock)
    throttled: bool | None = clock.fall > _CLOCK_FELL if clock else None
    if clock is None and slowdown <= SLOWED_DOWN and _is_long_enough(series):
        throttled = False
    return Load(activity, spread, slowdown, tuple(warnings), clock, throttled)


def _throttling(slowdown: float, clock: Clock | None) -> list[str]:
    """What is said of a processor that lowered its clock, or of runs that became slower."""
    runs = f"runs of the last quarter took {slowdown:.2f}x as long as those of the first"
    if clock is not None and clock.fall > _CLOCK_FELL:
        return [
            f"The processor was throttled, as hot ones are: its clock fell from {clock.first_mhz:.0f} "
            f"to {clock.last_mhz:.0f} MHz while latency was measured, and {runs}; cool it, or measure "
            "again."
        ]
    if slowdown <= SLOWED_DOWN:
        return []
    why = (
        "it was throttled, as hot processors are, or another program began"
        if clock is None
        else f"its clock stayed at {clock.last_mhz:.0f} MHz, so that another program may have begun"
    )
    return [f"The machine slowed down: {runs}; {why}."]


def _is_long_enough(series: Sequence[Sequence[Sequence[float]]]) -> bool:
    """Whether there are runs enough to tell whether they slowed down."""
    return all(len(times_ms[0]) >= _LEAST_RUNS for times_ms in series)


def _others_seconds() -> float:
    """Processor time of all programs but this one and those it started, since the machine's start."""
    machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
    idle = machine.idle + getattr(machine, "iowait", 0.0)
    # Linux counts the time of virtual machines in user's, too.
    whole = sum(machine) - getattr(machine, "guest", 0.0) - getattr(machine, "guest_nice", 0.0)
    return whole - idle - sum(own[:4])


def _spread(times_ms: Sequence[Sequence[float]]) -> float:
    series = np.asarray(times_ms[0], np.float64)
    if len(times_ms) > 1:
        series = series / np.asarray(times_ms[-1])
    low, median, high = np.percentile(series, (25, 50, 75))
    return float((high - low) / median)


def _slowdown(times_ms: Sequence[Sequence[float]]) -> float:
    """The geometric mean over the files."""
    quarter = len(times_ms[0]) // 4
    if 4 * quarter < _LEAST_RUNS:
        return 1.0
    ratios = [np.median(times[-quarter:]) / np.median(times[:quarter]) for times in times_ms]
    return float(np.exp(np.mean(np.log(ratios))))
