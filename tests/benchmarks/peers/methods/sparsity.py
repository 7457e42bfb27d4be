"""PocketKube's zeros, grown while the network trains."""

import keras

import pocketkube as pk
from tests.benchmarks.peers.job import DENSE_MODEL, PROBES, Compressed, Job, Prepared
from tests.benchmarks.peers.methods.channels import network_of
from tests.benchmarks.peers.splits import splits_of


def prepare(job: Job) -> Prepared:
    """Settings: `taught`, whether the uncompressed network teaches; the rest is of `pk.sparsify`."""
    arrays = job.arrays()
    model = keras.models.load_model(job.dense / DENSE_MODEL)
    settings = dict(job.settings)
    teacher = model if settings.pop("taught", True) else None

    def compress() -> Compressed:
        small = pk.sparsify(
            model,
            splits_of(arrays),
            sparsity=job.target,
            teacher=teacher,
            epochs=job.budget.epochs,
            training=job.budget.training(job.budget.epochs),
            seed=job.seed,
            **settings,
        )
        return network_of(small, arrays, trained=True)

    outputs = model.predict(arrays.test.images[:PROBES], verbose=0)
    return Prepared(outputs, compress, ("keras", "tensorflow-cpu"))
