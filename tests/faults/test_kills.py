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
import tempfile
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
# Longer than a run takes that is only looked at.
LIMIT_S = 600


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
    """Kills runs until there were so many kills, each run at most three times before it may end."""
    draw, found = random.Random(seed), Campaign(workers)
    spec = folder / "spec.yaml"
    training = {**SPEC["training"], "workers": workers}
    spec.write_text(yaml.safe_dump({**SPEC, "training": training}))
    began = time.monotonic()
    assert _run(spec, folder / "whole") is None
    seconds = time.monotonic() - began
    whole = _weights(folder / "whole")
    while len(found.kills) < kills:
        output = folder / f"killed-{found.runs}"
        for _ in range(min(3, kills - len(found.kills))):
            number = SIGNALS[len(found.kills) % len(SIGNALS)]
            killed = _run(spec, output, draw.uniform(0.05, 0.8) * seconds, number, found)
            if killed is None:
                break
            found.kills.append((number.name, killed))
        assert _run(spec, output) is None
        found.runs += 1
        again = _weights(output)
        found.unequal += [f"{output.name}/{name}" for name in whole if again.get(name) != whole[name]]
        found.left += [
            str(path.relative_to(output)) for path in output.rglob(".*") if path.name != ".cache"
        ]
        shutil.rmtree(output)
        print(f"workers={workers} kills={len(found.kills)} unequal={len(found.unequal)}", flush=True)
    return found


def _run(
    spec: Path,
    output: Path,
    after_s: float | None = None,
    number: signal.Signals = signal.SIGKILL,
    found: Campaign | None = None,
) -> str | None:
    """Runs a spec; the stage in which it was killed, or None where it ended by itself."""
    command = [sys.executable, "-m", "pocketkube", "run", str(spec), "--output", str(output)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=said,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            process.wait(after_s or LIMIT_S)
        except subprocess.TimeoutExpired:
            tree = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            process.wait(60)
            _, alive = psutil.wait_procs(tree, 20)
            assert found is not None
            found.orphans += [" ".join(each.cmdline())[:80] for each in alive if each.is_running()]
            said.seek(0)
            stages = re.findall(r"^\[\d+/\d+\] ([a-z].*)$", said.read(), re.MULTILINE)
            return stages[-1] if stages else "start"
        said.seek(0)
        assert process.returncode == 0, said.read()
    return None


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
