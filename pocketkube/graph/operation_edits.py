"""What a call of keras.ops becomes when some of its channels go: a short entry each, in one table."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from pocketkube.graph.contraction_edits import dot_product_attention_edit
from pocketkube.graph.dependency import Use
from pocketkube.graph.edit import Kept, LayerEdit
from pocketkube.graph.moves import argument, paddings, picked, rolled, spelled_out


def _axis(use: Use) -> int:
    """Along which axis the first input's channels lie, counted from the first."""
    assert use.inputs[0] is not None
    return use.inputs[0].axis + use.rank


def _new_positions(kept: Kept, old: np.ndarray) -> np.ndarray:
    """Where the old positions `old` of the first input are now, those that are gone left out."""
    left = old[np.isin(old, kept.inputs[0])]
    return np.searchsorted(kept.inputs[0], left)


def _get_item(use: Use, kept: Kept) -> LayerEdit:
    if use.inputs[0] is None:
        return LayerEdit()
    key = argument(use.arguments, "key", 1)
    try:
        taken, _ = picked(key, use.rank, _axis(use))
    except ValueError:
        return LayerEdit()
    old = np.arange(kept.sizes[0])[taken]
    if np.ndim(old) == 0:
        now: Any = int(_new_positions(kept, old[None])[0])
    else:
        now = _slice_of(_new_positions(kept, old), int(taken.step or 1))
    return LayerEdit(arguments={"key": _with_entry(key, use.rank, _axis(use), now)})


def _slice_of(positions: np.ndarray, step: int) -> slice:
    if not len(positions):
        return slice(0, 0)
    stop = int(positions[-1]) + (1 if step > 0 else -1)
    return slice(int(positions[0]), stop if stop >= 0 else None, step)


def _with_entry(key: Any, rank: int, axis: int, now: Any) -> tuple[Any, ...]:
    """The key with the entry of one axis in place, all others as they are."""
    entries = spelled_out(key, rank)
    places = [place for place, entry in enumerate(entries) if entry is not None]
    entries[places[axis]] = now
    return tuple(entries)


def _slice(use: Use, kept: Kept) -> LayerEdit:
    starts = argument(use.arguments, "start_indices", 1)
    if use.inputs[0] is None or use.outputs[0] is None:
        return LayerEdit()
    begins, shape = [int(each) for each in np.asarray(starts)], list(use.op.shape)
    axis = _axis(use)
    old = np.arange(begins[axis], begins[axis] + shape[axis])
    begins[axis], shape[axis] = (
        int((kept.inputs[0] < begins[axis]).sum()),
        len(_new_positions(kept, old)),
    )
    return LayerEdit({"shape": tuple(shape)}, arguments={"start_indices": tuple(begins)})


def _take(use: Use, kept: Kept) -> LayerEdit:
    indices = argument(use.arguments, "indices", 1)
    if use.inputs[0] is None or use.op.axis is None or use.op.axis % use.rank != _axis(use):
        return LayerEdit()
    if np.ndim(indices) > 1 or isinstance(indices, keras.KerasTensor):
        return LayerEdit()
    old = np.arange(kept.sizes[0])[np.asarray(indices, int)]
    now = _new_positions(kept, np.atleast_1d(old)).tolist()
    return LayerEdit(arguments={"indices": now if np.ndim(indices) else now[0]})


def _split(use: Use, kept: Kept) -> LayerEdit:
    sections = use.op.indices_or_sections
    if use.inputs[0] is None or isinstance(sections, int) or use.op.axis % use.rank != _axis(use):
        return LayerEdit()
    places = np.arange(kept.sizes[0])
    now = tuple(int(np.isin(places[:each], kept.inputs[0]).sum()) for each in sections)
    return LayerEdit({"indices_or_sections": now})


def _pad(use: Use, kept: Kept) -> LayerEdit:
    if use.inputs[0] is None or use.outputs[0] is None:
        return LayerEdit()
    widths, axis = use.op.pad_width, _axis(use)
    before, _ = paddings(widths, axis)
    now = [paddings(widths, each) for each in range(use.rank)]
    behind = before + kept.sizes[0]
    now[axis] = int((kept.outputs[0] < before).sum()), int((kept.outputs[0] >= behind).sum())
    return LayerEdit({"pad_width": tuple(now)})


def _roll(use: Use, kept: Kept) -> LayerEdit:
    op = use.op
    if use.inputs[0] is None or op.axis is None:
        return LayerEdit()
    axis, size = _axis(use), kept.sizes[0]
    by = rolled(op.shift, op.axis, use.rank, axis) % size
    others = [
        (int(each), int(along))
        for each, along in zip(np.atleast_1d(op.shift), np.atleast_1d(op.axis), strict=True)
        if along % use.rank != axis
    ]
    moved = [(int((kept.inputs[0] >= size - by).sum()), axis)] if by else []
    shifts = [*others, *moved] or [(0, axis)]
    return LayerEdit({"shift": [by for by, _ in shifts], "axis": [along for _, along in shifts]})


def _elementwise(use: Use, kept: Kept) -> LayerEdit:
    """Arrays that a call was given lose what is cut."""
    channels = use.outputs[0]
    if channels is None:
        return LayerEdit()
    bound = inspect.signature(use.op.call).bind(*use.arguments.args, **use.arguments.kwargs).arguments
    size = len(channels.ids)
    return LayerEdit(
        arguments={
            name: np.take(np.asarray(value), kept.outputs[0], axis=channels.axis)
            for name, value in bound.items()
            if hasattr(value, "shape")
            and not isinstance(value, keras.KerasTensor | keras.Variable)
            and len(value.shape) >= -channels.axis
            and value.shape[channels.axis] == size > 1
        }
    )


OPERATION_EDITS: dict[str, Callable[[Use, Kept], LayerEdit]] = {
    "DotProductAttention": dot_product_attention_edit,
    "GetItem": _get_item,
    "Pad": _pad,
    "Roll": _roll,
    "Slice": _slice,
    "Split": _split,
    "Take": _take,
    **dict.fromkeys(
        (
            "Add", "Subtract", "Multiply", "TrueDivide", "Divide", "DivideNoNan", "FloorDivide", "Mod",
            "Maximum", "Minimum", "Power", "Where", "Greater", "GreaterEqual", "Less", "LessEqual",
            "Equal", "NotEqual", "LogicalAnd", "LogicalOr", "LogicalXor", "Arctan2", "Logaddexp",
        ),
        _elementwise,
    ),
}  # fmt: skip
