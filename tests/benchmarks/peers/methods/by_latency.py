"""PocketKube's pruning of channels to a latency, by this machine's latency table: `pocketkube run`.

The machine has to be idle: what is cut depends on what is measured.
"""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import yaml

from pocketkube.benchmarking import benchmark
from pocketkube.files.whole import temporary_folder
from pocketkube.spec.sections import Benchmark
from tests.benchmarks.peers.arrays import Arrays
from tests.benchmarks.peers.in_keras import described
from tests.benchmarks.peers.job import (
    DENSE_FILE,
    DENSE_MODEL,
    PROBES,
    Cannot,
    Compressed,
    Job,
    Prepared,
)
from tests.benchmarks.peers.latency import RUNS


def prepare(job: Job) -> Prepared:
    """A target is the uncompressed network's latency over the pruned one's."""
    arrays = job.arrays()
    model = keras.models.load_model(job.dense / DENSE_MODEL)

    def compress() -> Compressed:
        with temporary_folder() as folder:
            pruned = _pruned(job, arrays, folder)
            outputs = pruned.predict(arrays.test.images[:PROBES], verbose=0)
            return Compressed(described(pruned), outputs)

    outputs = model.predict(arrays.test.images[:PROBES], verbose=0)
    return Prepared(outputs, compress, ("keras", "tensorflow-cpu"))


def _pruned(job: Job, arrays: Arrays, folder: Path) -> keras.Model:
    np.savez(
        folder / "data.npz",
        x=arrays.train.images,
        y=arrays.train.labels,
        x_val=arrays.validation.images,
        y_val=arrays.validation.labels,
        x_test=arrays.test.images,
        y_test=arrays.test.labels,
    )
    before = benchmark([job.dense / DENSE_FILE], Benchmark(runs=RUNS, threads=(1,)))
    spec = {
        "model": str(job.dense / DENSE_MODEL),
        "dataset": {"npz": str(folder / "data.npz")},
        "target": {"max_latency_ms": before.files[0].latency_ms.p50 / job.target},
        "stages": [{"prune_channels": {"calibration_examples": job.budget.calibration}}],
        "benchmark": {"threads": [1]},
        "seed": job.seed,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec), "utf-8")
    command = [sys.executable, "-m", "pocketkube", "run", str(folder / "spec.yaml")]
    command += ["-o", str(folder / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Cannot(done.stderr.strip().splitlines()[-1])
    return keras.models.load_model(folder / "run" / "steps" / "1_prune_channels" / "model.keras")
