"""Seconds and peak memory of a stretch of a Linux process; needs the standard library alone."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Meter:
    """What a stretch took, once it has ended.

    Attributes:
        seconds: On the clock.
        processor_seconds: Of all cores together.
        peak_bytes: How far resident memory rose above where it was before.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def metered() -> Iterator[Meter]:
    """Measures the block."""
    meter = Meter()
    gc.collect()
    # Linux: the high-water mark of resident memory begins anew.
    _RESET.write_text("5")
    before, clock, processor = _kilobytes("VmRSS"), time.perf_counter(), time.process_time()
    yield meter
    meter.seconds = time.perf_counter() - clock
    meter.processor_seconds = time.process_time() - processor
    meter.peak_bytes = 1024 * max(_kilobytes("VmHWM") - before, 0)


def _kilobytes(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])
