"""Magnitude pruning of TensorFlow's Model Optimization Toolkit, while the network trains."""

import tensorflow_model_optimization as tfmot
import tf_keras

from tests.benchmarks.peers.in_keras import built, weights_of
from tests.benchmarks.peers.job import PROBES, Compressed, Job, Prepared
from tests.benchmarks.peers.keras2_training import fit

# The zeros grow over the first half of the steps, every 10th of them.
GROWING, EVERY = 0.5, 10


def prepare(job: Job) -> Prepared:
    """It has no settings: polynomial decay, the target in each layer."""
    tf_keras.utils.set_random_seed(job.seed)
    arrays, network = job.arrays(), job.dense_network()
    model = built(network, tf_keras)
    probes = arrays.test.images[:PROBES]
    steps = len(arrays.train.labels) // job.budget.batch_size * job.budget.epochs
    grown = max(1, round(GROWING * steps))

    def compress() -> Compressed:
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            0.0, job.target, 0, grown, frequency=min(EVERY, grown)
        )
        growing = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=schedule)
        callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
        fit(growing, tf_keras, arrays, job.budget, job.seed, callbacks)
        sparse = tfmot.sparsity.keras.strip_pruning(growing)
        left = weights_of(network, sparse)
        return Compressed(left, sparse.predict(probes, verbose=0), trained=True)

    packages = ("tensorflow-model-optimization", "tensorflow", "tf-keras")
    return Prepared(model.predict(probes, verbose=0), compress, packages)
