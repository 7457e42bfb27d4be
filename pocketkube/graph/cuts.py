"""What each kind of layer becomes when some of its channels go: a short entry each, in one table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras.src.applications.convnext import LayerScale

from pocketkube.graph.dependency import ChannelGraph, Use
from pocketkube.graph.layer_rules import rules_of
from pocketkube.graph.propagation import cuts_whole_groups

layers = keras.layers


@dataclass(frozen=True)
class Left:
    """Positions that are left of each input's and output's channels.

    Attributes:
        sizes: How many channels each input had.
        inputs: What is left of each input; all positions where its channels are not known.
        outputs: The same for each output.
        heads: What is left of an attention layer's heads.
    """

    sizes: tuple[int, ...]
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    heads: np.ndarray | None


@dataclass(frozen=True)
class Cut:
    """A smaller layer: what changes in its config, and what is left along the axes of its weights.

    Attributes:
        config: Entries of the layer's config that change.
        weights: For the end of a weight's path ("kernel"), pairs of an axis and the positions left.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, tuple[tuple[int, np.ndarray], ...]] = field(default_factory=dict)

    def apply(self, path: str, weight: np.ndarray) -> np.ndarray:
        """The part of `weight` that is left."""
        for axis, left in self._axes(path):
            weight = np.take(weight, left, axis=axis)
        return weight

    def shape(self, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that is left of a weight of `shape`."""
        sizes = list(shape)
        for axis, left in self._axes(path):
            sizes[axis] = len(left)
        return tuple(sizes)

    def _axes(self, path: str) -> tuple[tuple[int, np.ndarray], ...]:
        for end, axes in self.weights.items():
            if path == end or path.endswith(f"/{end}") or end == ANY:
                return axes
        return ()


ANY = "*"


def left_of(graph: ChannelGraph, use: Use, keep: np.ndarray) -> Left:
    """What is left around a layer where only the units in the mask `keep` are.

    Args:
        graph: The channel graph.
        use: The layer.
        keep: One boolean for each of the graph's units.
    """

    def rest(sides: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
        return tuple(graph.kept(c, keep) if c is not None else np.arange(0) for c in sides)

    heads = graph.heads(use.op)
    return Left(
        tuple(len(c.ids) if c is not None else 0 for c in use.inputs),
        rest(use.inputs),
        rest(use.outputs),
        graph.kept(heads, keep) if heads is not None else None,
    )


def cut_layer(use: Use, left: Left) -> Cut:
    """How the layer of `use` has to change so that only `left` is left around it."""
    added = rules_of(use.op)
    rule = added.cut if added else CUTS.get(type(use.op))
    return rule(use, left) if rule else Cut()


def _into(use: Use, left: Left, position: int = 0) -> tuple[np.ndarray, ...]:
    """The positions left of an input, as a tuple to splice: empty where all are."""
    known = position < len(use.inputs) and use.inputs[position] is not None
    return (left.inputs[position],) if known else ()


def _axis(axis: int, positions: tuple[np.ndarray, ...]) -> tuple[tuple[int, np.ndarray], ...]:
    return tuple((axis, p) for p in positions)


def _dense(use: Use, left: Left) -> Cut:
    (out,) = left.outputs
    return Cut(
        {"units": len(out)},
        {"kernel": (*_axis(0, _into(use, left)), (1, out)), "bias": ((0, out),)},
    )


def _embedding(use: Use, left: Left) -> Cut:
    (out,) = left.outputs
    return Cut({"output_dim": len(out)}, {"embeddings": ((1, out),)})


def _convolution(use: Use, left: Left) -> Cut:
    if use.outputs[0] is None:
        return Cut()
    (out,), op = left.outputs, use.op
    config: dict[str, Any] = {"filters": len(out)}
    into = _into(use, left)
    if op.groups > 1 and into:
        width = left.sizes[0] // op.groups
        if cuts_whole_groups(op, left.sizes[0]):
            config["groups"] = len(into[0]) // width
            into = ()
        else:
            into = (into[0][into[0] < width],)
    return Cut(config, {"kernel": (*_axis(-2, into), (-1, out)), "bias": ((0, out),)})


def _transposed(use: Use, left: Left) -> Cut:
    if use.outputs[0] is None:
        return Cut()
    (out,) = left.outputs
    return Cut(
        {"filters": len(out)},
        {"kernel": ((-2, out), *_axis(-1, _into(use, left))), "bias": ((0, out),)},
    )


def _separable(use: Use, left: Left) -> Cut:
    if use.outputs[0] is None:
        return Cut()
    (out,), into = left.outputs, _into(use, left)
    many = use.op.depth_multiplier
    between = tuple((p[:, None] * many + np.arange(many)).ravel() for p in into)
    return Cut(
        {"filters": len(out)},
        {
            "depthwise_kernel": _axis(-2, into),
            "pointwise_kernel": (*_axis(-2, between), (-1, out)),
            "bias": ((0, out),),
        },
    )


def _depthwise(use: Use, left: Left) -> Cut:
    if use.outputs[0] is None:
        return Cut()
    return Cut({}, {"kernel": _axis(-2, _into(use, left)), "bias": ((0, left.outputs[0]),)})


def _per_channel(use: Use, left: Left) -> Cut:
    return Cut({}, {ANY: ((-1, left.outputs[0]),)}) if use.outputs[0] is not None else Cut()


def _group_normalization(use: Use, left: Left) -> Cut:
    if use.outputs[0] is None or use.op.groups <= 0:
        return _per_channel(use, left)
    groups = use.op.groups * len(left.outputs[0]) // left.sizes[0]
    return Cut({"groups": groups}, _per_channel(use, left).weights)


def _layer_scale(use: Use, left: Left) -> Cut:
    if use.outputs[0] is None:
        return Cut()
    return Cut({"projection_dim": len(left.outputs[0])}, _per_channel(use, left).weights)


def _attention(use: Use, left: Left) -> Cut:
    heads, op = left.heads, use.op
    if heads is None or use.outputs[0] is None:
        return Cut()
    (out,) = left.outputs
    key = 2 if len(use.inputs) > 2 else 1
    config: dict[str, Any] = {"num_heads": len(heads)}
    if op._output_shape is not None or len(out) != len(use.outputs[0].ids) or _into(use, left):
        config["output_shape"] = (*(op._output_shape or (0,))[:-1], len(out))
    weights = {"attention_output/kernel": ((0, heads), (-1, out)), "attention_output/bias": ((0, out),)}
    for name, position in (("query", 0), ("value", 1), ("key", key)):
        weights[f"{name}/kernel"] = (*_axis(0, _into(use, left, position)), (1, heads))
        weights[f"{name}/bias"] = ((0, heads),)
    return Cut(config, weights)


CUTS: dict[type, Callable[[Use, Left], Cut]] = {
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
    layers.BatchNormalization: _per_channel,
    layers.LayerNormalization: _per_channel,
    layers.RMSNormalization: _per_channel,
    layers.GroupNormalization: _group_normalization,
    layers.PReLU: _per_channel,
    LayerScale: _layer_scale,
}
