"""PocketKube's pruning of channels, and the uniform L1 baseline, as settings say."""

import keras

import pocketkube as pk
from pocketkube.api.network import Network
from tests.benchmarks.peers.arrays import Arrays
from tests.benchmarks.peers.in_keras import described
from tests.benchmarks.peers.job import DENSE_MODEL, PROBES, Compressed, Job, Prepared
from tests.benchmarks.peers.splits import splits_of


def prepare(job: Job) -> Prepared:
    """Settings are those of `pk.prune`."""
    arrays = job.arrays()
    model = keras.models.load_model(job.dense / DENSE_MODEL)
    data = splits_of(arrays)

    def compress() -> Compressed:
        return network_of(
            pk.prune(
                model,
                speedup=job.target,
                data=data,
                calibration_examples=job.budget.calibration,
                seed=job.seed,
                **job.settings,
            ),
            arrays,
        )

    outputs = model.predict(arrays.test.images[:PROBES], verbose=0)
    return Prepared(outputs, compress, ("keras", "tensorflow-cpu"))


def network_of(
    found: Network, arrays: Arrays, *, trained: bool = False, notes: tuple[str, ...] = ()
) -> Compressed:
    """What the API's functions gave, as a case's answer."""
    outputs = found.model.predict(arrays.test.images[:PROBES], verbose=0)
    return Compressed(described(found.model), outputs, trained=trained, notes=notes)
