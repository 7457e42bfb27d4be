"""Measures load time and peak memory of a file where nothing else has been loaded before."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pocketkube.errors import UserError
from pocketkube.native.child import describe_signal
from pocketkube.plain_errors import out_of_memory, says_out_of_memory
from pocketkube.processes.children import ending_with_parent

# Load times of a few milliseconds scatter; three processes are a second and a median.
_PROCESSES = 3
_SCRIPT = Path(__file__).with_name("fresh_process.py")


@dataclass(frozen=True)
class LoadFigures:
    """Time to load a file, and how far memory rose until it had run."""

    load_ms: float
    peak_memory_bytes: int


def measure_loading(
    files: Sequence[Path], threads: int, shapes: Sequence[Sequence[int]]
) -> tuple[LoadFigures, ...]:
    """Loads and runs each file in fresh processes, file after file in turn.

    Memory is the rise of the process's resident peak over what Python and the runtime take before
    the file comes. It contains the file's own pages as far as they were touched.

    Args:
        files: The .tflite files.
        threads: How many threads the kernels may use.
        shapes: Of the inputs of each of them, one example each: a file may leave them open.

    Returns:
        For each file the medians of three processes.

    Raises:
        UserError: If a process dies, for want of memory as a rule.
    """
    rounds = [[_one_process(file, threads, shapes) for file in files] for _ in range(_PROCESSES)]
    return tuple(
        LoadFigures(
            load_ms=median(one["load_ms"] for one in of_file),
            peak_memory_bytes=int(median(one["peak_memory_bytes"] for one in of_file)),
        )
        for of_file in zip(*rounds, strict=True)
    )


def _one_process(file: Path, threads: int, shapes: Sequence[Sequence[int]]) -> dict[str, float]:
    # -P: the script's own folder must not stand in for packages of the same names.
    told = (str(file.absolute()), str(threads), json.dumps([list(shape) for shape in shapes]))
    command = [sys.executable, "-P", str(_SCRIPT), *told]
    done = subprocess.run(ending_with_parent(command), capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        said = lines[-1] if lines else ""
        ended = describe_signal(-done.returncode) if done.returncode < 0 else ""
        cause = ": ".join(filter(None, (ended, said))) or f"exit status {done.returncode}"
        if says_out_of_memory(done.stderr):
            raise out_of_memory(f"{file}, in a process of its own")
        raise UserError(f"{file}: a fresh process could not load and run it ({cause}).")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
