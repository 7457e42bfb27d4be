"""The uncompressed network as it is, which is then trained on: what that alone brings."""

import keras

from tests.benchmarks.peers.in_keras import described
from tests.benchmarks.peers.job import DENSE_MODEL, PROBES, Compressed, Job, Prepared


def prepare(job: Job) -> Prepared:
    """It has no settings."""
    model = keras.models.load_model(job.dense / DENSE_MODEL)
    outputs = model.predict(job.arrays().test.images[:PROBES], verbose=0)
    return Prepared(outputs, lambda: Compressed(described(model), outputs), ("keras", "tensorflow-cpu"))
