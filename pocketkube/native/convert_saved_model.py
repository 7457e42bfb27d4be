"""A child process: converts TensorFlow's SavedModels to LiteRT."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pocketkube.bounded.npz import read_npz
from pocketkube.native.attention_masks import with_bounded_masks
from pocketkube.native.ranges import with_measured_ranges
from pocketkube.native.serving import serve

SAVED_MODEL, CALIBRATION, LITERT = "saved_model", "calibration.npz", "model.tflite"
SIGNATURE = "serving_default"


def convert(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Converts the SavedModel in a folder.

    Args:
        request: "folder", which gets the file; "number_format", "store_sparse", "input_type" and
            "output_type", see `convert_litert`; "calibration", the names of inputs in the order of
            their arrays in the folder, or null; "signatures", the functions of the SavedModel.
    """
    import tensorflow as tf

    folder, number_format = Path(request["folder"]), request["number_format"]
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / SAVED_MODEL), signature_keys=request["signatures"]
    )
    converter.optimizations = [] if number_format == "float32" else [tf.lite.Optimize.DEFAULT]
    if request["store_sparse"]:
        converter.optimizations.append(tf.lite.Optimize.EXPERIMENTAL_SPARSITY)
    if number_format == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if number_format == "int8":
        if request["calibration"] is not None:
            converter.representative_dataset = lambda: _examples(folder, request["calibration"])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            _measure_ranges(folder, request["calibration"])
        converter.inference_input_type = tf.as_dtype(request["input_type"])
        converter.inference_output_type = tf.as_dtype(request["output_type"])
    (folder / LITERT).write_bytes(converter.convert())
    return {}


def _measure_ranges(folder: Path, names: list[str]) -> None:
    """Puts what ranges are to be between the converter's own calibration and its integers.

    It lets nobody in there, so that what it calls is replaced; this process does nothing else.
    """
    from tensorflow.lite.python import convert, lite

    def quantize(calibrated: bytes, *rest: Any, **named: Any) -> bytes:
        measured = with_measured_ranges(bytes(calibrated), _examples(folder, names))
        return convert.mlir_quantize(with_bounded_masks(measured), *rest, **named)

    lite._mlir_quantize = quantize


def _examples(folder: Path, names: list[str]) -> Iterator[dict[str, np.ndarray]]:
    """One example after another, by name: the converter knows no order of its own."""
    for example in zip(*read_npz(folder / CALIBRATION).values(), strict=True):
        yield {name: array[np.newaxis] for name, array in zip(names, example, strict=True)}


if __name__ == "__main__":
    # Before the first request comes, while the one who asks prepares it.
    import tensorflow as tf  # noqa: F401

    serve(convert)
