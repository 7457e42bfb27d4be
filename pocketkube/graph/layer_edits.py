"""What each kind of layer becomes when some of its channels go: a short entry each, in one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from pocketkube.graph.dependency import ChannelGraph, Use
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.layer_rules import rules_of
from pocketkube.graph.propagation import cuts_whole_groups
from pocketkube.graph.recurrent import RECURRENT, along_gates, cells_of, gates_of, resized
from pocketkube.keras_private import LayerScale, attention_output_shape

layers = keras.layers


@dataclass(frozen=True)
class Kept:
    """Positions that are kept of each input's and output's channels.

    Attributes:
        sizes: How many channels each input had.
        inputs: What is kept of each input; all positions where its channels are not known.
        outputs: The same for each output.
        heads: What is kept of an attention layer's heads.
    """

    sizes: tuple[int, ...]
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    heads: np.ndarray | None


@dataclass(frozen=True)
class LayerEdit:
    """What makes a layer smaller: changes of its config, and positions kept along its weights' axes.

    Attributes:
        config: Entries of the layer's config that change.
        weights: For the end of a weight's path ("kernel"), pairs of an axis and the positions left.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, tuple[tuple[int, np.ndarray], ...]] = field(default_factory=dict)

    def apply(self, path: str, weight: np.ndarray) -> np.ndarray:
        """The part of `weight` that is left."""
        for axis, kept in self._axes(path):
            weight = np.take(weight, kept, axis=axis)
        return weight

    def shape(self, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that is left of a weight of `shape`."""
        sizes = list(shape)
        for axis, kept in self._axes(path):
            sizes[axis] = len(kept)
        return tuple(sizes)

    def _axes(self, path: str) -> tuple[tuple[int, np.ndarray], ...]:
        for end, axes in self.weights.items():
            if path == end or path.endswith(f"/{end}") or end == ANY:
                return axes
        return ()


ANY = "*"


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
    return rule(use, kept) if rule else LayerEdit()


def _into(use: Use, kept: Kept, position: int = 0) -> tuple[np.ndarray, ...]:
    """The positions left of an input, as a tuple to splice: empty where all are."""
    known = position < len(use.inputs) and use.inputs[position] is not None
    return (kept.inputs[position],) if known else ()


def _axis(axis: int, positions: tuple[np.ndarray, ...]) -> tuple[tuple[int, np.ndarray], ...]:
    return tuple((axis, p) for p in positions)


def _dense(use: Use, kept: Kept) -> LayerEdit:
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
        width = kept.sizes[0] // op.groups
        if cuts_whole_groups(op, kept.sizes[0]):
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


def _group_normalization(use: Use, kept: Kept) -> LayerEdit:
    if use.outputs[0] is None or use.op.groups <= 0:
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
    (out,) = kept.outputs
    key = 2 if len(use.inputs) > 2 else 1
    config: dict[str, Any] = {"num_heads": len(heads)}
    if (
        attention_output_shape(op) is not None
        or len(out) != len(use.outputs[0].ids)
        or _into(use, kept)
    ):
        config["output_shape"] = (*(attention_output_shape(op) or (0,))[:-1], len(out))
    weights = {"attention_output/kernel": ((0, heads), (-1, out)), "attention_output/bias": ((0, out),)}
    for name, position in (("query", 0), ("value", 1), ("key", key)):
        weights[f"{name}/kernel"] = (*_axis(0, _into(use, kept, position)), (1, heads))
        weights[f"{name}/bias"] = ((0, heads),)
    return LayerEdit(config, weights)


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


EDITS: dict[type, Callable[[Use, Kept], LayerEdit]] = {
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
    layers.MultiHeadAttention: _attention,
    layers.TimeDistributed: _each_step,
    **dict.fromkeys(RECURRENT, _recurrent),
    layers.BatchNormalization: _per_channel,
    layers.LayerNormalization: _per_channel,
    layers.RMSNormalization: _per_channel,
    layers.GroupNormalization: _group_normalization,
    layers.PReLU: _per_channel,
    LayerScale: _layer_scale,
}
