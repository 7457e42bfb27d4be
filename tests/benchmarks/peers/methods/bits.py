"""PocketKube's evenly spaced levels: as many bits everywhere, or found for each layer."""

from typing import Any

import keras

import pocketkube as pk
from tests.benchmarks.peers.finding import found_ratios
from tests.benchmarks.peers.job import DENSE_MODEL, FILE, PROBES, Compressed, Job, Prepared
from tests.benchmarks.peers.splits import splits_of


def prepare(job: Job) -> Prepared:
    """Settings: `search`, the sampler that finds layers' bits; the rest are those of `pk.quantize`."""
    arrays = job.arrays()
    model = keras.models.load_model(job.dense / DENSE_MODEL)
    data, settings = splits_of(arrays), dict(job.settings)
    sampler = settings.pop("search", None)

    def compress() -> Compressed:
        more: dict[str, Any] = {"bits": int(job.target)}
        if sampler:
            found = found_ratios(job, model, "quantize_weights", sampler)
            more = {"layers": found.quantize_weights}
        small = pk.quantize(
            model,
            data,
            teacher=model,
            calibration_examples=job.budget.calibration,
            epochs=job.budget.epochs,
            training=job.budget.training(job.budget.epochs),
            seed=job.seed,
            **more,
            **settings,
        )
        exported = pk.export(small, job.folder / FILE, data)
        return Compressed(file=exported.path.read_bytes(), trained=True)

    outputs = model.predict(arrays.test.images[:PROBES], verbose=0)
    return Prepared(outputs, compress, ("keras", "tensorflow-cpu"))
