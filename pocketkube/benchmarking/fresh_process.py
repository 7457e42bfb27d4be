"""Loads and runs one LiteRT file in a process of its own, and prints what that took as JSON.

It is run as a file, not imported, and imports nothing of PocketKube: what the process holds before
the model comes is the bare runtime.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

_RUNS = 3
_STATUS = Path("/proc/self/status")


def main(file: str, threads: int, shapes: list[list[int]]) -> None:
    """Prints load_ms and the rise of the resident memory's peak in bytes."""
    _forget_peak()
    resident_before, peak_before = _memory_bytes()
    began = time.perf_counter_ns()
    interpreter = Interpreter(model_path=file, num_threads=threads)
    for end, shape in zip(interpreter.get_input_details(), shapes, strict=True):
        # Only what a file leaves open is told.
        if list(end["shape"]) != shape:
            interpreter.resize_tensor_input(end["index"], shape)
    interpreter.allocate_tensors()
    load_ms = (time.perf_counter_ns() - began) / 1e6
    for _ in range(_RUNS):
        for end in interpreter.get_input_details():
            interpreter.set_tensor(end["index"], np.zeros(end["shape"], end["dtype"]))
        interpreter.invoke()
    _, peak = _memory_bytes()
    # Where the peak could not be reset, one that the imports reached says nothing of the model.
    rise = peak - resident_before if peak > peak_before else 0
    print(json.dumps({"load_ms": load_ms, "peak_memory_bytes": max(0, rise)}))


def _forget_peak() -> None:
    """Linux sets the peak back to what is resident now, so that imports do not count."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _memory_bytes() -> tuple[int, int]:
    """What is resident now and what was at most."""
    if _STATUS.exists():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        if "VmHWM" in lines:
            return int(lines["VmRSS"].split()[0]) * 1024, int(lines["VmHWM"].split()[0]) * 1024
    import resource

    # Not on Linux, where the figure is handed down from the parent process.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    import psutil

    return int(psutil.Process().memory_info().rss), peak


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
