"""Quantisation-aware training of TensorFlow's Model Optimization Toolkit, to int8."""

from dataclasses import replace

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from tests.benchmarks.peers.in_keras import built
from tests.benchmarks.peers.job import PROBES, Compressed, Job, Prepared
from tests.benchmarks.peers.keras2_training import fit


def prepare(job: Job) -> Prepared:
    """Setting: `rate`, the part of the budget's learning rate."""
    tf_keras.utils.set_random_seed(job.seed)
    arrays = job.arrays()
    budget = replace(job.budget, learning_rate=job.settings["rate"] * job.budget.learning_rate)
    model = built(job.dense_network(), tf_keras)
    outputs = model.predict(arrays.test.images[:PROBES], verbose=0)

    def compress() -> Compressed:
        aware = tfmot.quantization.keras.quantize_model(model)
        fit(aware, tf_keras, arrays, budget, job.seed, [])
        converter = tf.lite.TFLiteConverter.from_keras_model(aware)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return Compressed(file=converter.convert(), trained=True)

    return Prepared(outputs, compress, ("tensorflow-model-optimization", "tensorflow", "tf-keras"))
