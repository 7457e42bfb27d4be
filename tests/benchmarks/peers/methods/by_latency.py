"""PocketKube's pruning of channels to a latency, by this machine's table, as a spec's job does it.

The machine has to be idle: what is cut depends on what is measured.
"""

from pathlib import Path

import keras
import numpy as np

from pocketkube.benchmarking import benchmark
from pocketkube.bundle import load_bundle
from pocketkube.errors import UserError
from pocketkube.files.whole import temporary_folder
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import Benchmark
from pocketkube.stages.plan import plan
from pocketkube.stages.whole_job import run_inline
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

PRUNING = "1_prune_channels"


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
    settings = {
        "model": str(job.dense / DENSE_MODEL),
        "dataset": {"npz": str(folder / "data.npz")},
        "target": {"max_latency_ms": before.files[0].latency_ms.p50 / job.target},
        "stages": [{"prune_channels": {"calibration_examples": job.budget.calibration}}],
        "benchmark": {"threads": [1]},
        "seed": job.seed,
    }
    spec = parse_spec(settings)
    steps = plan(spec)
    until = [step.key for step in steps].index(PRUNING) + 1
    try:
        folders = run_inline(spec, folder / "steps", lambda _: None, steps=steps[:until])
    except UserError as error:
        raise Cannot(str(error).rstrip(".")) from error
    return load_bundle(folders[PRUNING]).model
