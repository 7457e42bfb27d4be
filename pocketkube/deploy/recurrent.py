"""Lets recurrent layers compute as the converter needs it: without dropout, for int8 without loops.

TensorFlow's converter cannot calibrate loops: it ends with a segmentation fault. LiteRT's own LSTM
kernel is no way out: it keeps its state from one example to the next, so that outputs depend on what
ran before.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from pocketkube.errors import UserError
from pocketkube.graph.kinds import computes_as, is_of_keras
from pocketkube.keras_private import flat_layers

# Of all recurrent layers together: a step takes some ten to thirty operations of the file.
MOST_STEPS = 256


@contextmanager
def unrolled(model: keras.Model) -> Iterator[None]:
    """Recurrent layers are unrolled within the block, whose weights stay where they are.

    Args:
        model: The model; it is as before when the block ends.

    Raises:
        UserError: If that takes more than `MOST_STEPS` steps, or their number is open.
    """
    found = [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.RNN)]
    looped = [layer for layer in found if not layer.unroll]
    _refuse_too_long(model.name, looped)
    # Keras unrolls these wrongly: it zeroes what is read backwards by the mask as it stands forwards.
    # Those that were built unrolled stay as Keras computes them.
    zeroed = [
        layer
        for layer in looped
        if layer.go_backwards and layer.zero_output_for_mask and layer.return_sequences
    ]
    for layer in looped:
        layer.unroll = True
    for layer in zeroed:
        layer.zero_output_for_mask = False
        layer.inner_loop = _zeroing(layer.inner_loop)
    try:
        yield
    finally:
        for layer in zeroed:
            del layer.inner_loop
            layer.zero_output_for_mask = True
        for layer in looped:
            layer.unroll = False


@contextmanager
def without_dropout(model: keras.Model) -> Iterator[None]:
    """Recurrent layers have no dropout within the block.

    Keras's draw its masks at inference, too, and leave them aside. A file then has a seed that changes
    with every call, of which calibration dies.

    Args:
        model: The model; it is as before when the block ends.
    """
    found = [layer for layer in flat_layers(model) if hasattr(layer, "get_dropout_mask")]
    # What others do with their masks nobody knows.
    cells = [cell for cell in found if is_of_keras(computes_as(cell))]
    before = [(cell.dropout, cell.recurrent_dropout) for cell in cells]
    for cell in cells:
        cell.dropout = cell.recurrent_dropout = 0.0
    try:
        yield
    finally:
        for cell, (dropout, recurrent_dropout) in zip(cells, before, strict=True):
            cell.dropout, cell.recurrent_dropout = dropout, recurrent_dropout


def _zeroing(inner_loop: Callable[..., Any]) -> Callable[..., Any]:
    """A layer's steps, last one first, with zeros for those that are masked."""

    def computed(sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        last, outputs, states = inner_loop(sequences, initial_state, mask, training)
        if mask is not None:
            shape = (-1, outputs.shape[1], *[1] * (len(outputs.shape) - 2))
            backwards = keras.ops.reshape(keras.ops.flip(mask, axis=1), shape)
            outputs = keras.ops.where(backwards, outputs, keras.ops.zeros_like(outputs))
        return last, outputs, states

    return computed


def notes_on_steps(model: keras.Model) -> list[str]:
    """Sentences for the user about a file that was calibrated with its recurrent layers unrolled."""
    found = [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.RNN)]
    if not found:
        return []
    listed = ", ".join(f"{layer.name} of {_steps(layer)} steps" for layer in found)
    return [
        f"The file holds each step of recurrent layers by itself ({listed}), which takes more room "
        "than the loops of quantize_dynamic and quantize_float16."
    ]


def _refuse_too_long(name: str, layers: list[Any]) -> None:
    steps = {layer: _steps(layer) for layer in layers}
    for layer, count in steps.items():
        if count is None:
            raise UserError(
                f"{name}: the sequence that {layer.name} ({type(layer).__name__}) takes has no fixed "
                "length; give the model's input one to convert it to int8, or use quantize_float16."
            )
    total = sum(count for count in steps.values() if count)
    if total > MOST_STEPS:
        listed = ", ".join(f"{layer.name} of {count} steps" for layer, count in steps.items())
        raise UserError(
            f"{name}: an int8 file holds each step of recurrent layers by itself, at most {MOST_STEPS} "
            f"of all layers together, but there are {total} ({listed}); use quantize_dynamic or "
            "quantize_float16, which keep loops, or shorter sequences."
        )


def _steps(layer: Any) -> int | None:
    """How many steps a layer takes, of what it was built for."""
    config = layer.get_build_config() or {}
    # Of a layer that is given its initial state Keras keeps the shapes of both.
    config = config.get("shapes_dict", config)
    shape = config.get("input_shape") or config.get("sequences_shape")
    return None if shape is None or shape[1] is None else int(shape[1])
