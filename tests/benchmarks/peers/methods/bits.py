"""PocketKube's evenly spaced levels: as many bits everywhere, or found for each layer."""

from typing import Any

import keras

import pocketkube as pk
from tests.benchmarks.peers.finding import found_ratios
from tests.benchmarks.peers.job import DENSE_MODEL, FILE, PROBES, Compressed, Job, Prepared
from tests.benchmarks.peers.splits import splits_of


def prepare(job: Job) -> Prepared:
    """Settings are those of `pk.quantize`, and two of this benchmark.

    `search` is the sampler that finds layers' bits, `taught` whether the uncompressed network teaches.
    """
    arrays = job.arrays()
    model = keras.models.load_model(job.dense / DENSE_MODEL)
    data, settings = splits_of(arrays), {"epochs": job.budget.epochs, **job.settings}
    sampler, is_taught = settings.pop("search", None), settings.pop("taught", True)

    def compress() -> Compressed:
        more: dict[str, Any] = {"bits": int(job.target)}
        if sampler:
            found = found_ratios(job, model, "quantize_weights", sampler)
            more = {"layers": found.quantize_weights}
        small = pk.quantize(
            model,
            data,
            teacher=model if is_taught and settings["epochs"] else None,
            calibration_examples=job.budget.calibration,
            training=job.budget.training(job.budget.epochs),
            seed=job.seed,
            **more,
            **settings,
        )
        exported = pk.export(small, job.folder / FILE, data)
        return Compressed(file=exported.path.read_bytes(), trained=settings["epochs"] > 0)

    outputs = model.predict(arrays.test.images[:PROBES], verbose=0)
    return Prepared(outputs, compress, ("keras", "tensorflow-cpu"))
