"""LiteRT's own post-training quantisation, of the uncompressed network."""

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks.peers.job import DENSE_MODEL, PROBES, Compressed, Job, Prepared


def prepare(job: Job) -> Prepared:
    """Setting: `numbers`: "int8", or "dynamic", whose activations are floats."""
    arrays = job.arrays()
    model = keras.models.load_model(job.dense / DENSE_MODEL)
    examples = arrays.train.first(job.budget.calibration).images

    def compress() -> Compressed:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if job.settings["numbers"] == "int8":
            converter.representative_dataset = lambda: ([image[None]] for image in examples)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return Compressed(file=converter.convert())

    outputs = np.asarray(model.predict(arrays.test.images[:PROBES], verbose=0))
    return Prepared(outputs, compress, ("tensorflow-cpu", "keras"))
