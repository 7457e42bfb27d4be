"""Runs that are killed at random moments and started again end with the weights of one that was not.

With `--kills N` so many kills of single processes, and half as many of runs with two ranks. By hand:
`python -m tests.faults.test_kills --single 40 --workers 20 --output FOLDER`.
"""

import argparse
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import psutil
import pytest
import tensorflow as tf  # noqa: F401
import yaml

from pocketkube.cli.main import main as main_of_pocketkube

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SPEC: dict[str, Any] = {
    "model": "lenet",
    "dataset": "digits",
    "target": {"speedup": 1.5},
    "stages": ["prune_channels", {"fine_tune": {"epochs": 2}}, "quantize_int8"],
    "training": {"epochs": 2, "batch_size": 64, "checkpoint_steps": 1},
    "benchmark": {"runs": 5, "threads": [1]},
}
# What holds weights; what is measured anew differs.
COMPARED = ("model.tflite", "baseline.tflite")
KILLS_EACH = 6


@dataclass
class Campaign:
    """Kills, and what came of them.

    Attributes:
        workers: How many processes share the training.
        kills: The signal, and the stage it came in, of each.
        runs: How many runs were brought to their end after kills.
        unequal: What was not equal afterwards.
        orphans: Processes that outlived the one that was killed.
        left: Files of killed writes that were there after the last run.
    """

    workers: int
    kills: list[tuple[str, str]] = field(default_factory=list)
    runs: int = 0
    unequal: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def campaign(folder: Path, kills: int, workers: int, seed: int) -> Campaign:
    """Kills runs until there were so many kills, each run a few times before it may end."""
    draw, found = random.Random(seed), Campaign(workers)
    spec = folder / "spec.yaml"
    training = {**SPEC["training"], "workers": workers}
    spec.write_text(yaml.safe_dump({**SPEC, "training": training}))
    said = _run(spec, folder / "whole")
    # Of each stage how long it took.
    seconds = dict(re.findall(r"^\[\d+/\d+\] ([a-z].*)\n(?:.*\n)*?\[\d+/\d+\] ([\d.]+) s$", said, re.M))
    if workers > 1:
        # The others are no other with workers.
        seconds = {
            name: seconds[name] for name in seconds if name in ("train_model", "fine_tune_model")
        }
    whole = _weights(folder / "whole")
    while len(found.kills) < kills:
        output = folder / f"killed-{found.runs}"
        stages = draw.choices(list(seconds), k=min(KILLS_EACH, kills - len(found.kills)))
        for stage in sorted(stages, key=list(seconds).index):
            number = SIGNALS[len(found.kills) % len(SIGNALS)]
            _kill(spec, output, stage, draw.uniform(0, float(seconds[stage])), number, found)
        _run(spec, output)
        found.runs += 1
        again = _weights(output)
        found.unequal += [f"{output.name}/{name}" for name in whole if again.get(name) != whole[name]]
        found.left += [
            str(path.relative_to(output))
            for path in output.rglob(".*")
            if path.name not in (".cache", ".shown.json")
        ]
        shutil.rmtree(output)
        done = f"workers={workers} kills={len(found.kills)} unequal={len(found.unequal)}"
        print(done, found.kills[-KILLS_EACH:], flush=True)
    return found


class Run:
    """`pocketkube run` in a process that is forked from this one, which has loaded TensorFlow.

    Attributes:
        pid: The process.
        said: What it says.
    """

    def __init__(self, spec: Path, output: Path) -> None:
        read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(write, 1)
            os.dup2(write, 2)
            # One that is started in the background hands down that SIGINT is ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code: Any = 1
            try:
                main_of_pocketkube(["run", str(spec), "--output", str(output)])
                code = 0
            except SystemExit as ending:
                code = ending.code
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(write)
        self.said = os.fdopen(read)

    def end(self) -> int:
        """Waits for it; its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _run(spec: Path, output: Path) -> str:
    """Runs a spec to its end; what it said."""
    run = Run(spec, output)
    said = run.said.read()
    assert run.end() == 0, said
    return said


def _kill(
    spec: Path, output: Path, stage: str, after_s: float, number: signal.Signals, found: Campaign
) -> None:
    """Runs a spec, and kills it so long after a stage has begun."""
    run, said = Run(spec, output), []
    for line in run.said:
        said.append(line)
        if line.rstrip().endswith(f"] {stage}"):
            break
    time.sleep(after_s)
    tree = psutil.Process(run.pid).children(recursive=True)
    os.kill(run.pid, number)
    said += run.said.readlines()
    if run.end():
        _, alive = psutil.wait_procs(tree, 20)
        found.orphans += [" ".join(each.cmdline())[:80] for each in alive]
        began = re.findall(r"^\[\d+/\d+\] ([a-z].*)$", "".join(said), re.M)
        found.kills.append((number.name, began[-1]))


def _weights(output: Path) -> dict[str, str]:
    """A digest of each model's weights by its place, and of files that are compared as they are."""
    found = {name: hashlib.sha256((output / name).read_bytes()).hexdigest() for name in COMPARED}
    for file in sorted(output.rglob("steps/*/model.keras")):
        digest = hashlib.sha256()

        def update(name: str, item: Any, digest: Any = digest) -> None:
            if isinstance(item, h5py.Dataset):
                digest.update(name.encode() + item[()].tobytes())

        with zipfile.ZipFile(file) as archive, archive.open("model.weights.h5") as weights:
            h5py.File(io.BytesIO(weights.read())).visititems(update)
        found[str(file.relative_to(output))] = digest.hexdigest()
    return found


needs_horovod = pytest.mark.skipif(find_spec("horovod") is None, reason="Horovod is missing")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=needs_horovod)])
def test_killed_runs_end_with_the_same_weights(
    tmp_path: Path, request: pytest.FixtureRequest, workers: int
) -> None:
    kills = request.config.getoption("--kills") // workers
    counts = {1: ("--single", kills), 2: ("--workers", kills)}
    asked = {"--single": 0, "--workers": 0} | dict([counts[workers]])
    # Runs are forked: from a process of their own, which has neither threads nor captured streams.
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.test_kills", "--output", tmp_path]
        + [str(word) for pair in asked.items() for word in pair],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["kills"] == kills
    assert (found["unequal"], found["orphans"], found["left"]) == ([], [], [])


def main() -> None:
    """The campaign with full numbers, as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--single", type=int, default=40)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    for kills, workers in ((options.single, 1), (options.workers, 2)):
        if not kills:
            continue
        folder = options.output / str(workers)
        folder.mkdir(parents=True)
        found = campaign(folder, kills, workers, options.seed)
        counts = Counter(f"{name} in {stage}" for name, stage in found.kills)
        facts = {
            "workers": workers,
            "kills": len(found.kills),
            "by": dict(counts),
            "runs": found.runs,
            "unequal": found.unequal,
            "orphans": found.orphans,
            "left": found.left,
        }
        print(json.dumps(facts, indent=1), flush=True)


if __name__ == "__main__":
    main()
