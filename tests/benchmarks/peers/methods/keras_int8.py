"""Keras's `model.quantize("int8")`, and the LiteRT file of what it gives."""

import keras
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from tests.benchmarks.peers.arrays import accuracy
from tests.benchmarks.peers.job import DENSE_MODEL, PROBES, Cannot, Compressed, Job, Prepared


def prepare(job: Job) -> Prepared:
    """It has no settings."""
    arrays = job.arrays()
    model = keras.models.load_model(job.dense / DENSE_MODEL)
    outputs = model.predict(arrays.test.images[:PROBES], verbose=0)

    def compress() -> Compressed:
        model.quantize("int8")
        done = [layer.name for layer in model.layers if getattr(layer, "quantization_mode", None)]
        kernels = [layer.name for layer in model.layers if hasattr(layer, "kernel")]
        told = f"Keras quantises {len(done)} of {len(kernels)} layers ({', '.join(done) or 'none'})"
        answers = model.predict(arrays.test.images, verbose=0)
        told += f", and in Keras answers right on {accuracy(answers, arrays.test.labels):.2%}"
        try:
            file = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        except ConverterError:
            raise Cannot(
                f"{told}; LiteRT's converter refuses the integers that these compute in"
            ) from None
        return Compressed(file=file, notes=(f"{told}.",))

    return Prepared(outputs, compress, ("keras", "tensorflow-cpu"))
