"""Watches the clock of the cores while runs are timed, where Linux shows it."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketkube.benchmarking.processor import ROOT

# To read a clock takes some tens of microseconds, on some boards more.
_EVERY_S = 0.05
# A quarter of fewer is no median.
_LEAST_LOOKS = 8


@dataclass(frozen=True)
class Clock:
    """The clock of the fastest core, between runs that were timed.

    Attributes:
        first_mhz: The median of the first quarter of the looks at it.
        last_mhz: That of the last quarter.
        max_mhz: The highest that the core allows; None where that is not visible.
    """

    first_mhz: float
    last_mhz: float
    max_mhz: float | None

    @property
    def fall(self) -> float:
        """How far it fell, as a part of what it was at first."""
        return 1 - self.last_mhz / self.first_mhz


class ClockWatch:
    """Looks at the clock now and then.

    Args:
        cores: Numbers of the cores that runs may be on: the fastest one is taken for theirs.
        root: The folder that holds sys.
        every_s: At most so often.
    """

    def __init__(self, cores: Collection[int], root: Path = ROOT, every_s: float = _EVERY_S) -> None:
        folder = root / "sys/devices/system/cpu"
        self._places = [folder / f"cpu{core}/cpufreq" for core in cores]
        self._every_s, self._next = every_s, 0.0
        self._looks: list[list[float]] = []

    def begin(self) -> None:
        """Begins a series, with as many threads for all of its runs: only within one clocks compare."""
        self._looks.append([])

    def look(self) -> None:
        """Looks, unless the last look was just now; between two runs that are timed."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every_s
        found = [khz for place in self._places if (khz := _khz(place / "scaling_cur_freq"))]
        if found:
            self._looks[-1].append(max(found) / 1000)

    def clock(self) -> Clock | None:
        """What was seen, in the series in which it fell most; None where too little was."""
        quarters = [(each, len(each) // 4) for each in self._looks if len(each) >= _LEAST_LOOKS]
        highest = [khz for place in self._places if (khz := _khz(place / "cpuinfo_max_freq"))]
        max_mhz = max(highest) / 1000 if highest else None
        clocks = [
            Clock(float(np.median(each[:part])), float(np.median(each[-part:])), max_mhz)
            for each, part in quarters
        ]
        return max(clocks, key=lambda clock: clock.fall, default=None)


def _khz(file: Path) -> int:
    """0 where it is not visible."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0
