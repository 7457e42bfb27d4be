"""PocketKube's search for each layer's channels, and the pruning that it decides."""

import keras

import pocketkube as pk
from tests.benchmarks.peers.finding import found_ratios
from tests.benchmarks.peers.job import DENSE_MODEL, PROBES, Compressed, Job, Prepared
from tests.benchmarks.peers.methods.channels import network_of
from tests.benchmarks.peers.splits import splits_of


def prepare(job: Job) -> Prepared:
    """Settings: `sampler`, one of a spec's, or "optuna", which projects nothing onto the budget.

    And `trained`: whether trials are trained before they are judged, as a spec's are by default.
    """
    arrays = job.arrays()
    model = keras.models.load_model(job.dense / DENSE_MODEL)

    def compress() -> Compressed:
        found = found_ratios(job, model, "prune_channels", job.settings["sampler"])
        small = pk.prune(
            model,
            ratios=found.prune_channels,
            data=splits_of(arrays),
            calibration_examples=job.budget.calibration,
            seed=job.seed,
        )
        return network_of(small, arrays)

    outputs = model.predict(arrays.test.images[:PROBES], verbose=0)
    return Prepared(outputs, compress, ("keras", "tensorflow-cpu", "optuna"))
