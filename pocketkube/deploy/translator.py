"""Converts a model of translation to a LiteRT file of two signatures: encode, and decode one token."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from pocketkube.console.quiet import captured_stderr
from pocketkube.errors import UserError, first_line
from pocketkube.files.whole import temporary_folder
from pocketkube.native.child import Child, ChildDied, ChildRefused
from pocketkube.native.convert_saved_model import LITERT, SAVED_MODEL
from pocketkube.number_formats import NumberFormat
from pocketkube.translation.names import DECODE, ENCODE, SOURCE
from pocketkube.translation.step_models import Spec, inputs_of, step_models

_CONVERTER = Child("pocketkube.native.convert_saved_model")


def convert_translator(model: keras.Model, number_format: NumberFormat) -> bytes:
    """Converts both parts of a model, which share its weights in the file, for one sentence at a time.

    What `encode` gives and `decode` takes and gives has the same names; the cache begins as zeros.

    Args:
        model: A model of translation; see `step_models`.
        number_format: "float32", "float16" or "dynamic"; for "int8", whose ranges the cache would need
            at every length, "dynamic" is taken.

    Returns:
        The file's content.

    Raises:
        UserError: If it cannot be computed step by step, or an operation is not there in LiteRT.
    """
    parts = step_models(model)
    with temporary_folder() as folder:
        _CONVERTER.start()
        owner = tf.Module()
        encoded, decoded = inputs_of(parts)
        functions = {
            ENCODE: _function(lambda given: parts.encode(given[SOURCE]), encoded),
            DECODE: _function(parts.step, decoded),
        }
        owner.weights = [x for function in functions.values() for x in function.graph.variables]
        with captured_stderr():
            tf.saved_model.save(owner, str(folder / SAVED_MODEL), signatures=functions)
        try:
            _CONVERTER.ask(
                {
                    "folder": str(folder),
                    "number_format": "dynamic" if number_format == "int8" else number_format,
                    "store_sparse": False,
                    "input_type": "float32",
                    "output_type": "float32",
                    "calibration": None,
                    "signatures": [ENCODE, DECODE],
                }
            )
        except (ChildDied, ChildRefused) as error:
            raise UserError(
                f"{model.name}: cannot be converted to a LiteRT file that decodes step by step: "
                f"{first_line(error)}"
            ) from error
        return (folder / LITERT).read_bytes()


def _function(
    compute: Callable[[Mapping[str, Any]], Mapping[str, Any]], takes: Mapping[str, Spec]
) -> Any:
    specs = [tf.TensorSpec((1, *spec.shape), spec.dtype, name=name) for name, spec in takes.items()]

    @tf.function(autograph=False, input_signature=specs)
    def run(*inputs: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return compute(dict(zip(takes, inputs, strict=True)))

    return run.get_concrete_function()
