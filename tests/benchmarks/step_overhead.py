"""What a step of a pipeline costs beside what its stage does.

    python -m tests.benchmarks.step_overhead                # three rounds; some minutes
    python -m tests.benchmarks.step_overhead spec.yaml --rounds 5

The same job runs as one process (`pocketkube run`) and as the pipeline on this machine (`make run`),
where each step is a process of its own that fetches its inputs and hands on its outputs, in turn, with
nothing cached. Prints a Markdown table: medians of both, of a start of Python with TensorFlow, and what
a step adds. Seconds of the processor are those of all processes of the job.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

SPEC = """\
model: lenet
dataset: digits
target: {speedup: 2}
stages: [prune_channels, fine_tune, quantize_int8]
training: {epochs: 1}
benchmark: {runs: 20, threads: [1]}
"""
ONE_PROCESS, PIPELINE, START = "pocketkube run", "the pipeline", "a start of Python with TensorFlow"
_FINISHED = re.compile(r"Task '[^']+' finished with status SUCCESS")


@dataclass(frozen=True)
class Taken:
    """What a command took.

    Attributes:
        wall: Seconds from its start to its end.
        processor: Seconds of processors, of its children, too.
        tasks: Tasks of a pipeline that it ran.
    """

    wall: float
    processor: float
    tasks: int


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.step_overhead")
    parser.add_argument("spec", type=Path, nargs="?", help="the job; a small one on digits if left out")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds = []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(_round(options.spec, Path(folder)))
    print(table(rounds))


def _round(spec: Path | None, folder: Path) -> dict[str, Taken]:
    if spec is None:
        spec = folder / "spec.yaml"
        spec.write_text(SPEC, encoding="utf-8")
    pipeline = "pipelines.compression.compress_model"
    run, steps = folder / "run", folder / "pipeline"
    return {
        START: taken(["-c", "import tensorflow"], folder),
        # Neither finds what the other has done.
        ONE_PROCESS: taken(["-m", "pocketkube", "run", str(spec), "-o", str(run)], run / ".cache"),
        PIPELINE: taken(["-m", pipeline, str(spec), "--output", str(steps)], steps / ".cache"),
    }


def taken(arguments: Sequence[str], cache: Path) -> Taken:
    """Runs Python, and measures it.

    Args:
        arguments: Python's.
        cache: The folder of finished stages.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    before, start = _processor(), time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "POCKETKUBE_CACHE": str(cache), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall = time.monotonic() - start
    return Taken(wall, _processor() - before, len(_FINISHED.findall(done.stdout)))


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(rounds: Sequence[Mapping[str, Taken]]) -> str:
    """Medians of the rounds, and what a step adds.

    Args:
        rounds: By name what each command took.
    """
    tasks = rounds[0][PIPELINE].tasks
    lines = ["| | seconds | of the processor |", "| --- | --- | --- |"]
    for name in (START, ONE_PROCESS, PIPELINE):
        told = f"{name}, {tasks} steps" if name == PIPELINE else name
        lines.append(_row(told, [each[name] for each in rounds]))
    added = [
        Taken(
            (each[PIPELINE].wall - each[ONE_PROCESS].wall) / tasks,
            (each[PIPELINE].processor - each[ONE_PROCESS].processor) / tasks,
            0,
        )
        for each in rounds
    ]
    lines.append(_row("a step adds", added))
    return "\n".join(lines)


def _row(name: str, several: Iterable[Taken]) -> str:
    each = list(several)
    wall, processor = median(t.wall for t in each), median(t.processor for t in each)
    return f"| {name} | {wall:.1f} | {processor:.1f} |"


if __name__ == "__main__":
    main()
