"""Runs that are killed at random moments and started again end with the weights of one that was not.

With `--kills N` so many kills of single processes, and half as many of runs with two ranks. By hand:
`python -m tests.faults.test_kills --single 40 --workers 20 --output FOLDER`.
"""

import argparse
import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

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
KILLS_EACH = 5
LIMIT_S = 900


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
            str(path.relative_to(output)) for path in output.rglob(".*") if path.name != ".cache"
        ]
        shutil.rmtree(output)
        print(f"workers={workers} kills={len(found.kills)} unequal={len(found.unequal)}", flush=True)
    return found


def _started(spec: Path, output: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pocketkube", "run", str(spec), "--output", str(output)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # One that is started in the background hands down that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def _run(spec: Path, output: Path) -> str:
    """Runs a spec to its end; what it said."""
    process = _started(spec, output)
    said = process.communicate(timeout=LIMIT_S)[1]
    assert process.returncode == 0, said
    return said


def _kill(
    spec: Path, output: Path, stage: str, after_s: float, number: signal.Signals, found: Campaign
) -> None:
    """Runs a spec, and kills it so long after a stage has begun."""
    process, said = _started(spec, output), []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if line.rstrip().endswith(f"] {stage}"):
            break
    time.sleep(after_s)
    if process.poll() is None:
        tree = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.wait(60)
        _, alive = psutil.wait_procs(tree, 20)
        found.orphans += [" ".join(each.cmdline())[:80] for each in alive]
        said += process.stderr.readlines()
        began = re.findall(r"^\[\d+/\d+\] ([a-z].*)$", "".join(said), re.M)
        found.kills.append((number.name, began[-1]))
    process.communicate()


def _weights(output: Path) -> dict[str, str]:
    """A digest of each model's weights by its place, and of files that are compared as they are."""
    import keras

    found = {name: hashlib.sha256((output / name).read_bytes()).hexdigest() for name in COMPARED}
    for file in sorted(output.rglob("steps/*/model.keras")):
        digest = hashlib.sha256()
        for weight in keras.saving.load_model(file, compile=False).get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        found[str(file.relative_to(output))] = digest.hexdigest()
    return found


needs_horovod = pytest.mark.skipif(
    find_spec("horovod") is None or shutil.which("mpirun") is None, reason="Horovod is missing"
)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=needs_horovod)])
def test_killed_runs_end_with_the_same_weights(
    tmp_path: Path, request: pytest.FixtureRequest, workers: int
) -> None:
    kills = request.config.getoption("--kills") // workers
    found = campaign(tmp_path, kills, workers, seed=0)
    assert len(found.kills) == kills
    assert (found.unequal, found.orphans, found.left) == ([], [], [])


def main() -> None:
    """The campaign with full numbers, as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--single", type=int, default=40)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    for kills, workers in ((options.single, 1), (options.workers, 2)):
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
