"""How fast several processes train together, and a step of ours beside Keras's and PyTorch's.

    python -m tests.benchmarks.scaling                  # two processes on two cores
    python -m tests.benchmarks.scaling --torch PYTHON   # one that has PyTorch, if this one has not
    python -m tests.benchmarks.scaling --predict        # clusters, on paper; see the module `cluster`

Each process has one thread on a core of its own, and a batch of 64 images of 28 x 28; the data are in
memory, and no checkpoints are made. All train ResNet-20, then one twice as wide: in rounds, in which
they take turns, while all others are stopped. Prints a Markdown table of medians over the rounds.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.mpirun import mpirun_command

BATCH, SHAPE, CLASSES = 64, (28, 28, 1), 10
# Multiples of ResNet-20's channels.
NETWORKS = {"ResNet-20": 1.0, "ResNet-20, twice as wide": 2.0}
_POLL_S, _PATIENCE_S = 0.02, 300.0
ALONE, BOTH, GLOO, MPI = "1 rank", "2 processes, nothing shared", "2 ranks, Gloo", "2 ranks, MPI"
FREE = "2 ranks, Gloo, on any core"
KERAS, TORCH, INPUT = "Keras fit", "PyTorch", "input pipeline alone"
# How many processes work at the same time.
NAMES = {ALONE: 1, BOTH: 2, GLOO: 2, FREE: 2, MPI: 2, KERAS: 1, TORCH: 1, INPUT: 1}


@dataclass
class Group:
    """Processes that work at the same time, while no others do.

    Attributes:
        name: What they are called.
        size: How many there are.
        python: What runs them.
        seconds: By turn, how long a step took in each of them.
        on_the_way: By turn, the part of a step in which a message was on its way; first rank.
    """

    name: str
    size: int = 1
    python: str = sys.executable
    seconds: dict[int, list[float]] = field(default_factory=dict)
    on_the_way: dict[int, float] = field(default_factory=dict)


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scaling")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="steps of a round")
    parser.add_argument("--torch", default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of: {'; '.join(NAMES)}")
    parser.add_argument("--predict", action="store_true", help="predict clusters, and measure nothing")
    options = parser.parse_args()
    if options.predict:
        from tests.benchmarks.cluster import main as predict

        predict()
        return
    names = [name for name in NAMES if name in (options.only or NAMES) or name == ALONE]
    if TORCH in names and not _has_torch(options.torch):
        print("PyTorch is missing: --torch names a Python that has it.", file=sys.stderr)
        names.remove(TORCH)
    pythons = {TORCH: options.torch}
    groups = [Group(name, NAMES[name], pythons.get(name, sys.executable)) for name in names]
    with tempfile.TemporaryDirectory() as folder:
        measure(groups, options.rounds, options.steps, Path(folder))
    print(table(groups, options.rounds))


def measure(groups: list[Group], rounds: int, steps: int, folder: Path) -> None:
    """Lets the groups take turns; their times are in them then."""
    (folder / "settings.json").write_text(json.dumps({"rounds": rounds, "steps": steps}))
    numbered = list(enumerate(groups))
    running = [_started(group, number, folder) for number, group in numbered]
    try:
        for number, group in numbered:
            for place in range(group.size):
                _wait_for(folder / f"{number}-{place}-ready", group, number, folder)
            _signal(group, number, folder, signal.SIGSTOP)
        for turn in range(len(NETWORKS) * (rounds + 2)):
            # Building networks is not measured.
            are_apart = turn % (rounds + 2) > 0
            for some in [[each] for each in numbered] if are_apart else [numbered]:
                _take_turn(some, turn, folder)
    finally:
        # Launchers first: they would start others in the place of those that are lost.
        for process in (process for processes in running for process in processes):
            process.terminate()
        for number, group in numbered:
            _signal(group, number, folder, signal.SIGKILL)
        for process in (process for processes in running for process in processes):
            process.wait()


def _has_torch(python: str) -> bool:
    return not subprocess.run([python, "-c", "import torch"], capture_output=True).returncode


def _started(group: Group, number: int, folder: Path) -> list[subprocess.Popen]:
    program = [
        group.python,
        "-m",
        "tests.benchmarks.scaling_member",
        group.name,
        str(number),
        str(folder),
    ]
    environment = {**os.environ, **_ONE_THREAD, "HOROVOD_TIMELINE": "DYNAMIC"}
    # They are stopped for longer than Gloo waits by itself.
    environment["HOROVOD_GLOO_TIMEOUT_SECONDS"] = "3600"
    quiet: dict[str, Any] = {"env": environment, "stdout": subprocess.DEVNULL}
    with (folder / f"{number}.log").open("wb") as log:
        quiet["stderr"] = log
        if group.name == MPI:
            found = [subprocess.Popen([*mpirun_command(group.size), *program], **quiet)]
        elif group.name in (GLOO, FREE):
            launcher = [sys.executable, "-c", _ELASTIC.format(program=program, size=group.size)]
            found = [subprocess.Popen(launcher, **quiet)]
        else:
            ranks = [{**environment, "PLACE": str(place)} for place in range(group.size)]
            found = [subprocess.Popen(program, **{**quiet, "env": each}) for each in ranks]
    return found


_ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}
# As `training.workers` starts them.
_ELASTIC = """
from pocketkube.launch.elastic.hosts import ThisMachine
from pocketkube.launch.elastic.run import ElasticRun
ElasticRun(ThisMachine({program}), {size}, {size}, "127.0.0.1").to_the_end()
"""


def _take_turn(some: list[tuple[int, Group]], turn: int, folder: Path) -> None:
    """Lets some groups work at the same time."""
    for number, group in some:
        _signal(group, number, folder, signal.SIGCONT)
        (folder / f"{number}-go-{turn}").touch()
    for number, group in some:
        files = [folder / f"{number}-{place}-done-{turn}.json" for place in range(group.size)]
        for file in files:
            _wait_for(file, group, number, folder)
        _signal(group, number, folder, signal.SIGSTOP)
        found = [json.loads(file.read_text()) for file in files]
        group.seconds[turn] = [each["seconds"] for each in found]
        group.on_the_way[turn] = found[0]["on_the_way"]


def _wait_for(file: Path, group: Group, number: int, folder: Path) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not file.exists():
        if time.monotonic() > until:
            log = (folder / f"{number}.log").read_text(errors="replace")[-2000:]
            raise SystemExit(f"{group.name} does not answer: {log}")
        time.sleep(_POLL_S)


def _signal(group: Group, number: int, folder: Path, what: signal.Signals) -> None:
    for place in range(group.size):
        if (file := folder / f"{number}-{place}-pid").exists():
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), what)


def table(groups: list[Group], rounds: int) -> str:
    """The Markdown table."""
    lines = ["| | | images/s | ms a step | against 1 rank | communicating |", "| --- " * 6 + "|"]
    for place, network in enumerate(NETWORKS):
        first = place * (rounds + 2)
        counted = range(first + 1, first + 1 + rounds)
        steps = {g.name: [max(g.seconds[turn]) for turn in counted] for g in groups}
        for group in groups:
            taken = median(steps[group.name])
            ratios = [a / b for a, b in zip(steps[ALONE], steps[group.name], strict=True)]
            share = group.on_the_way[first + 1 + rounds]
            cells = [network, group.name, f"{group.size * BATCH / taken:.0f}", f"{1e3 * taken:.1f}"]
            cells += [f"{median(ratios):.2f}", f"{share:.1%}" if share else ""]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
