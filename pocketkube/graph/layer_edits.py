"""What each kind of layer becomes when some of its channels go: a short entry each, in one table."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from pocketkube.graph.attention_inputs import attention_inputs
from pocketkube.graph.contraction_edits import additive_attention_edit, einsum_dense_edit
from pocketkube.graph.dependency import ChannelGraph, Use
from pocketkube.graph.edit import ANY, Kept, LayerEdit
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.layer_rules import rules_of
from pocketkube.graph.operation_edits import OPERATION_EDITS
from pocketkube.graph.propagation import cuts_whole_groups, normalized_axes
from pocketkube.graph.recurrent import RECURRENT, along_gates, cells_of, gates_of, resized
from pocketkube.keras_private import LayerScale, attention_output_shape, is_operation

layers = keras.layers


def kept_around(graph: ChannelGraph, use: Use, keep: np.ndarray) -> Kept:
    """What is left around a layer where only the units in the mask `keep` are.

    Args:
        graph: The channel graph.
        use: The layer.
        keep: One boolean for each of the graph's units.
    """

    def rest(sides: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
        return tuple(graph.kept(c, keep) if c is not None else np.arange(0) for c in sides)

    heads = graph.heads(use.op)
    return Kept(
        tuple(len(c.ids) if c is not None else 0 for c in use.inputs),
        rest(use.inputs),
        rest(use.outputs),
        graph.kept(heads, keep) if heads is not None else None,
    )


def edit_of(use: Use, kept: Kept) -> LayerEdit:
    """How the layer of `use` has to change so that only `kept` is left around it."""
    added = rules_of(use.op)
    rule = added.edit if added else EDITS.get(computes_as(use.op))
    if is_operation(use.op):
        rule = OPERATION_EDITS.get(type(use.op).__name__)
    return rule(use, kept) if rule else LayerEdit()


def _into(use: Use, kept: Kept, position: int = 0) -> tuple[np.ndarray, ...]:
    """The positions left along the last axis of an input, as a tuple to splice: empty where all are."""
    channels = use.inputs[position] if position < len(use.inputs) else None
    return (kept.inputs[position],) if channels is not None and channels.axis == -1 else ()


def _axis(axis: int, positions: tuple[np.ndarray, ...]) -> tuple[tuple[int, np.ndarray], ...]:
    return tuple((axis, p) for p in positions)


def _dense(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None:
        return LayerEdit()
    (out,) = kept.outputs
    return LayerEdit(
        {"units": len(out)},
        {"kernel": (*_axis(0, _into(use, kept)), (1, out)), "bias": ((0, out),)},
    )


def _each_step(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None:
        return LayerEdit()
    return LayerEdit(_resized(use, kept, len(kept.outputs[0])), _dense(use, kept).weights)


def _embedding(use: Use, kept: Kept) -> LayerEdit:
    (out,) = kept.outputs
    return LayerEdit({"output_dim": len(out)}, {"embeddings": ((1, out),)})


def _convolution(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None:
        return LayerEdit()
    (out,), op = kept.outputs, use.op
    config: dict[str, Any] = {"filters": len(out)}
    into = _into(use, kept)
    if op.groups > 1 and into:
        assert use.inputs[0] is not None
        width = kept.sizes[0] // op.groups
        if cuts_whole_groups(op, use.inputs[0].ids):
            config["groups"] = len(into[0]) // width
            into = ()
        else:
            into = (into[0][into[0] < width],)
    return LayerEdit(config, {"kernel": (*_axis(-2, into), (-1, out)), "bias": ((0, out),)})


def _transposed(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None:
        return LayerEdit()
    (out,) = kept.outputs
    return LayerEdit(
        {"filters": len(out)},
        {"kernel": ((-2, out), *_axis(-1, _into(use, kept))), "bias": ((0, out),)},
    )


def _separable(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None:
        return LayerEdit()
    (out,), into = kept.outputs, _into(use, kept)
    many = use.op.depth_multiplier
    between = tuple((p[:, None] * many + np.arange(many)).ravel() for p in into)
    return LayerEdit(
        {"filters": len(out)},
        {
            "depthwise_kernel": _axis(-2, into),
            "pointwise_kernel": (*_axis(-2, between), (-1, out)),
            "bias": ((0, out),),
        },
    )


def _depthwise(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None:
        return LayerEdit()
    return LayerEdit({}, {"kernel": _axis(-2, _into(use, kept)), "bias": ((0, kept.outputs[0]),)})


def _per_channel(use: Use, kept: Kept) -> LayerEdit:
    return LayerEdit({}, {ANY: ((-1, kept.outputs[0]),)}) if use.outputs[0] is not None else LayerEdit()


def _normalization(use: Use, kept: Kept) -> LayerEdit:
    channels = use.outputs[0]
    if channels is None or channels.axis + use.rank not in normalized_axes(use.op, use.rank):
        return LayerEdit()
    return _per_channel(use, kept)


def _prelu(use: Use, kept: Kept) -> LayerEdit:
    channels = use.outputs[0]
    if channels is None or use.op.alpha.shape[channels.axis] == 1:
        return LayerEdit()
    return LayerEdit({}, {"alpha": ((channels.axis, kept.outputs[0]),)})


def _group_normalization(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None or use.op.groups <= 1:
        return _per_channel(use, kept)
    groups = use.op.groups * len(kept.outputs[0]) // kept.sizes[0]
    return LayerEdit({"groups": groups}, _per_channel(use, kept).weights)


def _layer_scale(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None:
        return LayerEdit()
    return LayerEdit({"projection_dim": len(kept.outputs[0])}, _per_channel(use, kept).weights)


def _attention(use: Use, kept: Kept) -> LayerEdit:
    heads, op = kept.heads, use.op
    if heads is None or use.outputs[0] is None:
        return LayerEdit()
    (out, *_), places = kept.outputs, attention_inputs(use.arguments)
    config: dict[str, Any] = {"num_heads": len(heads)}
    if (
        attention_output_shape(op) is not None
        or len(out) != len(use.outputs[0].ids)
        or _into(use, kept, places["query"])
    ):
        config["output_shape"] = (*(attention_output_shape(op) or (0,))[:-1], len(out))
    weights = {
        "attention_output/kernel": ((0, heads), (-1, out)),
        "attention_output/bias": ((-1, out),),
    }
    for name in ("query", "gate", "value", "key"):
        place = places["query" if name == "gate" else name]
        weights[f"{name}/kernel"] = (*_axis(0, _into(use, kept, place)), (1, heads))
        weights[f"{name}/bias"] = ((0, heads),)
    return LayerEdit(config, weights)


def _grouped_attention(use: Use, kept: Kept) -> LayerEdit:
    """Queries' heads go with the heads of keys and values that they share."""
    op, groups = use.op, kept.heads
    if groups is None or use.outputs[0] is None:
        return LayerEdit()
    (out, *_), each = kept.outputs, op.num_query_heads // op.num_key_value_heads
    heads = (groups[:, None] * each + np.arange(each)).ravel()
    weights = {"attention_output/kernel": ((0, heads), (-1, out)), "attention_output/bias": ((0, out),)}
    places = attention_inputs(use.arguments)
    for name, of in (("query", heads), ("gate", heads), ("value", groups), ("key", groups)):
        place = places["query" if name == "gate" else name]
        weights[f"{name}/kernel"] = (*_axis(0, _into(use, kept, place)), (1, of))
        weights[f"{name}/bias"] = ((0, of),)
    return LayerEdit({"num_query_heads": len(heads), "num_key_value_heads": len(groups)}, weights)


def _recurrent(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None:
        return LayerEdit()
    cell = cells_of(use.op)[0]
    # Directions that are put side by side lose the same units.
    units = kept.outputs[0][kept.outputs[0] < cell.units]
    columns = along_gates(units, cell.units, gates_of(cell))
    return LayerEdit(
        _resized(use, kept, len(units)),
        {
            "kernel": (*_axis(0, _into(use, kept)), (1, columns)),
            "recurrent_kernel": ((0, units), (1, columns)),
            "bias": ((-1, columns),),
        },
    )


def _resized(use: Use, kept: Kept, units: int) -> Mapping[str, Any]:
    sides = zip((*use.inputs, *use.outputs), (*kept.inputs, *kept.outputs), strict=True)
    if all(len(left) == len(channels.ids) for channels, left in sides if channels is not None):
        # A layer within it may be another one's, too, which its config says as it is.
        return {}
    return resized(use.op.get_config(), units)


def _dropout(use: Use, kept: Kept) -> LayerEdit:
    """The shape of its noise, where that has a place for each channel."""
    channels, shape = use.outputs[0], getattr(use.op, "noise_shape", None)
    if channels is None or shape is None or shape[channels.axis] in (None, 1):
        return LayerEdit()
    noise = list(shape)
    noise[channels.axis] = len(kept.outputs[0])
    return LayerEdit({"noise_shape": tuple(noise)})


def _rescaling(use: Use, kept: Kept) -> LayerEdit:
    """Its numbers, where it has one for each channel."""
    channels = use.outputs[0]
    if channels is None:
        return LayerEdit()
    given = {name: np.asarray(getattr(use.op, name)) for name in ("scale", "offset")}
    return LayerEdit(
        {
            name: np.take(numbers, kept.outputs[0], axis=channels.axis).tolist()
            for name, numbers in given.items()
            if numbers.ndim >= -channels.axis and numbers.shape[channels.axis] > 1
        }
    )


EDITS: dict[type, Callable[[Use, Kept], LayerEdit]] = {
    layers.Dropout: _dropout,
    layers.AlphaDropout: _dropout,
    layers.Rescaling: _rescaling,
    layers.Dense: _dense,
    layers.Embedding: _embedding,
    layers.Conv1D: _convolution,
    layers.Conv2D: _convolution,
    layers.Conv3D: _convolution,
    layers.Conv1DTranspose: _transposed,
    layers.Conv2DTranspose: _transposed,
    layers.Conv3DTranspose: _transposed,
    layers.SeparableConv1D: _separable,
    layers.SeparableConv2D: _separable,
    layers.DepthwiseConv1D: _depthwise,
    layers.DepthwiseConv2D: _depthwise,
    layers.EinsumDense: einsum_dense_edit,
    layers.AdditiveAttention: additive_attention_edit,
    layers.MultiHeadAttention: _attention,
    layers.TimeDistributed: _each_step,
    **dict.fromkeys(RECURRENT, _recurrent),
    layers.GroupQueryAttention: _grouped_attention,
    layers.BatchNormalization: _normalization,
    layers.LayerNormalization: _normalization,
    layers.RMSNormalization: _normalization,
    layers.GroupNormalization: _group_normalization,
    layers.PReLU: _prelu,
    LayerScale: _layer_scale,
}
