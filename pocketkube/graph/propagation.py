"""How channels travel through each kind of operation: one short rule for each, in one table."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import keras
import numpy as np

from pocketkube.graph.channels import FIXED, Channels, Ledger
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.layer_rules import rules_of
from pocketkube.graph.recurrent import RECURRENT, obstacle, recurrent_channels
from pocketkube.keras_private import (
    CustomScaleLayer,
    LayerScale,
    StochasticDepth,
    attention_output_shape,
    is_operation,
)

Shape = tuple[int | None, ...]
layers = keras.layers


@dataclass(frozen=True)
class ChannelFlow:
    """One call of an operation in the graph.

    Attributes:
        op: The layer or operation.
        path: Its name, with those of the models around it.
        shapes: Shapes of the input tensors, batch axis included.
        channels: Their channels; None where an axis that could be cut is not known.
        out_shapes: Shapes of the output tensors.
        arguments: The call's positional and keyword arguments, as they were given.
        ledger: Where ties are written down.
    """

    op: Any
    path: str
    shapes: Sequence[Shape]
    channels: Sequence[Channels | None]
    out_shapes: Sequence[Shape]
    arguments: Any
    ledger: Ledger

    def last(self, position: int = 0) -> np.ndarray:
        """Channel numbers along the last axis of an input; fixed ones where they are elsewhere."""
        channels = self.channels[position]
        size = self.shapes[position][-1]
        if channels is not None and channels.axis == -1:
            return channels.ids
        if channels is not None:
            self.ledger.fix(channels.ids)
        if size is None:
            raise ValueError(f"the last axis of {self.path} has no fixed size")
        return np.full(size, FIXED)

    def fix_all(self) -> None:
        """Fixes every channel that comes in."""
        for channels in self.channels:
            if channels is not None:
                self.ledger.fix(channels.ids)


Rule = Callable[[ChannelFlow], Channels | list[Channels | None] | None]


def propagate(call: ChannelFlow) -> list[Channels | None] | None:
    """The channels of a call's outputs.

    Args:
        call: The call.

    Returns:
        One for each output, or None where no rule knows the operation: its inputs are then fixed,
        so that it stays as it is.
    """
    added = rules_of(call.op)
    rule = added.channels if added else RULES.get(computes_as(call.op)) or _operation_rule(call.op)
    if rule is None or obstacle(call.op):
        call.fix_all()
        return None
    made = rule(call)
    if isinstance(made, list):
        return made
    return [made] * len(call.out_shapes)


def _operation_rule(op: Any) -> Rule | None:
    # Bare operations (x + y on symbolic tensors) have no public classes: their names are keras.ops'.
    if not is_operation(op):
        return None
    return OPERATION_RULES.get(type(op).__name__)


def _same(call: ChannelFlow) -> Channels | None:
    return call.channels[0]


def _channels_last_only(call: ChannelFlow) -> Channels | None:
    if getattr(call.op, "data_format", "channels_last") == "channels_first":
        return _whole(call)
    return Channels(-1, call.last())


def _whole(call: ChannelFlow) -> Channels | None:
    call.fix_all()
    return None


def _activation(call: ChannelFlow) -> Channels | None:
    name = getattr(getattr(call.op, "activation", None), "__name__", "")
    return _whole(call) if "softmax" in name else _same(call)


def _on_last_axis(call: ChannelFlow) -> Channels | None:
    """Weights for each channel of the last axis."""
    axis = getattr(call.op, "axis", -1)
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    rank = len(call.shapes[0])
    if [a % rank for a in axes] != [rank - 1]:
        return _whole(call)
    return Channels(-1, call.last())


def _prelu(call: ChannelFlow) -> Channels | None:
    return _whole(call) if call.op.alpha.shape[-1] == 1 else Channels(-1, call.last())


def _group_normalization(call: ChannelFlow) -> Channels | None:
    channels = _on_last_axis(call)
    if channels is not None and call.op.groups > 0:
        # A group's statistics stay what they are only if its channels go together.
        _tie_together(call.ledger, channels.ids.reshape(call.op.groups, -1))
    return channels


def _dense(call: ChannelFlow) -> Channels | None:
    call.last()
    return Channels(-1, call.ledger.fresh(_key(call), call.op.units))


def _each_step(call: ChannelFlow) -> Channels | None:
    """A dense layer for each step of a sequence: it reads the last axis anyway."""
    call.last()
    return Channels(-1, call.ledger.fresh(_key(call), call.op.layer.units))


def _embedding(call: ChannelFlow) -> Channels | None:
    return Channels(-1, call.ledger.fresh(_key(call), call.op.output_dim))


def _convolution(call: ChannelFlow) -> Channels | None:
    if call.op.data_format == "channels_first":
        return _whole(call)
    incoming = call.last()
    made = call.ledger.fresh(_key(call), call.op.filters)
    groups = call.op.groups
    if groups > 1:
        inputs, outputs = incoming.reshape(groups, -1), made.reshape(groups, -1)
        if cuts_whole_groups(call.op, len(incoming)):
            _tie_together(call.ledger, np.concatenate([inputs, outputs], axis=1))
        else:
            _tie_together(call.ledger, inputs.T)
            _tie_together(call.ledger, outputs.T)
    return Channels(-1, made)


def cuts_whole_groups(convolution: Any, channels: int) -> bool:
    """Whether a grouped convolution loses whole groups or the same positions of every group.

    Whichever leaves the finer choice.
    """
    return bool(convolution.groups > channels // convolution.groups)


def _transposed_convolution(call: ChannelFlow) -> Channels | None:
    if call.op.data_format == "channels_first":
        return _whole(call)
    call.last()
    return Channels(-1, call.ledger.fresh(_key(call), call.op.filters))


def _depthwise(call: ChannelFlow) -> Channels | None:
    if call.op.data_format == "channels_first":
        return _whole(call)
    return Channels(-1, np.repeat(call.last(), call.op.depth_multiplier))


def _attention(call: ChannelFlow) -> Channels | None:
    arguments = call.arguments
    call.last(0)
    call.last(1)
    if len(call.shapes) > 2:
        key_is_value = arguments.kwargs.get("key") is None and len(arguments.args) < 3
        if key_is_value:
            return _whole(call)
        call.last(2)
    # The heads are units of their own: no tensor outside carries them.
    call.ledger.fresh(heads_key(call.op), call.op.num_heads)
    shape = attention_output_shape(call.op)
    width = (shape[-1] if shape else None) or call.shapes[0][-1]
    return Channels(-1, call.ledger.fresh(_key(call), int(width)))  # type: ignore[arg-type]


def _elementwise(call: ChannelFlow) -> Channels | None:
    """Operations on tensors position by position, with broadcasting."""
    out = call.out_shapes[0]
    known = [channels for channels in call.channels if channels is not None]
    if not known:
        return None
    axis = known[0].axis
    if any(channels.axis != axis for channels in known):
        return _whole(call)
    size = out[axis]
    full = [channels.ids for channels in known if len(channels.ids) == size]
    for channels in known:
        if len(channels.ids) != size:
            call.ledger.fix(channels.ids)
    if not full:
        return None
    for ids in full[1:]:
        call.ledger.tie(full[0], ids)
    others = [s for s, c in zip(call.shapes, call.channels, strict=True) if c is None]
    others += _constant_shapes(call.arguments)
    if any(len(shape) >= -axis and shape[axis] != 1 for shape in others):
        call.ledger.fix(full[0])
    return Channels(axis, full[0])


def _constant_shapes(arguments: Any) -> list[Shape]:
    flat = keras.tree.flatten((arguments.args, arguments.kwargs))
    return [
        tuple(np.shape(value))
        for value in flat
        if not isinstance(value, keras.KerasTensor) and hasattr(value, "shape")
    ]


def _concatenate(call: ChannelFlow) -> Channels | None:
    rank = len(call.out_shapes[0])
    axis = call.op.axis % rank - rank
    known = [channels for channels in call.channels if channels is not None]
    if not known:
        return None
    if any(channels.axis != known[0].axis for channels in known):
        return _whole(call)
    if known[0].axis != axis:
        for channels in call.channels:
            if channels is None:
                call.ledger.fix(known[0].ids)
            else:
                call.ledger.tie(known[0].ids, channels.ids)
        return known[0]
    pieces = []
    for shape, channels in zip(call.shapes, call.channels, strict=True):
        size = shape[axis]
        if size is None:
            return _whole(call)
        pieces.append(channels.ids if channels else np.full(size, FIXED))
    return Channels(axis, np.concatenate(pieces))


def _reshape(call: ChannelFlow) -> Channels | None:
    """Follows every element; where channels end on several axes, ties them until one is left."""
    channels = call.channels[0]
    if channels is None:
        return None
    if channels.axis == -1 and call.shapes[0][-1] == call.out_shapes[0][-1] is not None:
        # The last axis is as it was, even where steps of a sequence become examples of a batch.
        return channels
    shape, out = call.shapes[0][1:], call.out_shapes[0][1:]
    if not _is_whole(shape) or not _is_whole(out) or call.out_shapes[0][0] != call.shapes[0][0]:
        return _whole(call)
    if math.prod(shape) != math.prod(out):
        return _whole(call)
    return _relabel(call, _spread(channels, shape).reshape(out))


def _transpose(call: ChannelFlow) -> Channels | None:
    channels = call.channels[0]
    if channels is None:
        return None
    rank = len(call.shapes[0])
    order = getattr(call.op, "dims", None)
    order = [0, *order] if order is not None else getattr(call.op, "axes", None)
    order = list(reversed(range(rank))) if order is None else [a % rank for a in order]
    if order[0] != 0:
        return _whole(call)
    return Channels(order.index(channels.axis % rank) - rank, channels.ids)


def _reduce(call: ChannelFlow) -> Channels | None:
    channels = call.channels[0]
    if channels is None:
        return None
    rank, axes = len(call.shapes[0]), call.op.axis
    axes = list(range(rank)) if axes is None else np.atleast_1d(axes).tolist()
    reduced = {a % rank for a in axes}
    position = channels.axis % rank
    if position in reduced:
        return _whole(call)
    if not getattr(call.op, "keepdims", False):
        left = [a for a in range(rank) if a not in reduced]
        return Channels(left.index(position) - len(left), channels.ids)
    return channels


def _split(call: ChannelFlow) -> list[Channels | None] | None:
    channels = call.channels[0]
    if channels is None:
        return None
    rank = len(call.shapes[0])
    sections = call.op.indices_or_sections
    if call.op.axis % rank - rank != channels.axis:
        return [channels] * len(call.out_shapes)
    if not isinstance(sections, int):
        call.fix_all()
        return [None] * len(call.out_shapes)
    pieces = np.split(channels.ids, sections)
    for piece in pieces[1:]:
        call.ledger.tie(pieces[0], piece)
    return [Channels(channels.axis, piece) for piece in pieces]


def _key(call: ChannelFlow) -> int:
    return id(call.op)


def heads_key(attention: Any) -> tuple[int, str]:
    """The owner under which an attention layer's heads are numbered."""
    return id(attention), "heads"


def _tie_together(ledger: Ledger, rows: np.ndarray) -> None:
    """Ties all the numbers of each row."""
    for column in rows.T[1:]:
        ledger.tie(rows[:, 0], column)


def _spread(channels: Channels, shape: tuple[int, ...]) -> np.ndarray:
    along = [1] * len(shape)
    along[channels.axis] = -1
    return np.broadcast_to(channels.ids.reshape(along), shape)


def _is_whole(shape: Shape) -> TypeGuard[tuple[int, ...]]:
    """Whether all of a shape's sizes are fixed."""
    return None not in shape


def _relabel(call: ChannelFlow, ids: np.ndarray) -> Channels | None:
    """Brings a number for each element back to a number for each position of one axis."""
    varying = [
        axis
        for axis in range(ids.ndim)
        if ids.shape[axis] > 1 and not (ids == ids.take([0], axis=axis)).all()
    ]
    axis = varying[-1] if varying else ids.ndim - 1
    rows = np.moveaxis(ids, axis, 0).reshape(ids.shape[axis], -1)
    if len(varying) > 1:
        _tie_together(call.ledger, rows)
    return Channels(axis - ids.ndim, rows[:, 0])


RULES: dict[type, Rule] = {
    layers.Dense: _dense,
    layers.Embedding: _embedding,
    layers.Conv1D: _convolution,
    layers.Conv2D: _convolution,
    layers.Conv3D: _convolution,
    layers.SeparableConv1D: _transposed_convolution,
    layers.SeparableConv2D: _transposed_convolution,
    layers.Conv1DTranspose: _transposed_convolution,
    layers.Conv2DTranspose: _transposed_convolution,
    layers.Conv3DTranspose: _transposed_convolution,
    layers.DepthwiseConv1D: _depthwise,
    layers.DepthwiseConv2D: _depthwise,
    layers.MultiHeadAttention: _attention,
    layers.TimeDistributed: _each_step,
    **dict.fromkeys(RECURRENT, recurrent_channels),
    layers.BatchNormalization: _on_last_axis,
    layers.LayerNormalization: _on_last_axis,
    layers.RMSNormalization: _on_last_axis,
    layers.GroupNormalization: _group_normalization,
    LayerScale: _channels_last_only,
    layers.PReLU: _prelu,
    layers.Activation: _activation,
    layers.Concatenate: _concatenate,
    layers.Flatten: _reshape,
    layers.Reshape: _reshape,
    layers.Permute: _transpose,
    CustomScaleLayer: _elementwise,
    **dict.fromkeys(
        (
            layers.Add,
            layers.Subtract,
            layers.Multiply,
            layers.Average,
            layers.Maximum,
            layers.Minimum,
        ),
        _elementwise,
    ),
    **dict.fromkeys(
        (
            layers.ReLU,
            layers.LeakyReLU,
            layers.ELU,
            layers.Identity,
            layers.Dropout,
            layers.GaussianDropout,
            layers.GaussianNoise,
            layers.ActivityRegularization,
            StochasticDepth,
        ),
        _same,
    ),
    **dict.fromkeys(
        (
            layers.MaxPooling1D,
            layers.MaxPooling2D,
            layers.MaxPooling3D,
            layers.AveragePooling1D,
            layers.AveragePooling2D,
            layers.AveragePooling3D,
            layers.GlobalAveragePooling1D,
            layers.GlobalAveragePooling2D,
            layers.GlobalAveragePooling3D,
            layers.GlobalMaxPooling1D,
            layers.GlobalMaxPooling2D,
            layers.GlobalMaxPooling3D,
            layers.ZeroPadding1D,
            layers.ZeroPadding2D,
            layers.ZeroPadding3D,
            layers.Cropping1D,
            layers.Cropping2D,
            layers.Cropping3D,
            layers.UpSampling1D,
            layers.UpSampling2D,
            layers.UpSampling3D,
            layers.SpatialDropout1D,
            layers.SpatialDropout2D,
            layers.SpatialDropout3D,
        ),
        _channels_last_only,
    ),
    # Whatever mixes all channels, or has weights of the input's own shape, keeps them all.
    layers.Softmax: _whole,
    layers.Normalization: _whole,
    layers.Rescaling: lambda call: _same(call) if np.ndim(call.op.scale) == 0 else _whole(call),
}

OPERATION_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Add", "Subtract", "Multiply", "TrueDivide", "Divide", "Maximum", "Minimum"), _elementwise
    ),
    **dict.fromkeys(
        (
            "Relu", "Relu6", "Sigmoid", "Silu", "Gelu", "Elu", "Selu", "Tanh", "LeakyRelu",
            "HardSigmoid", "HardSilu", "Softplus", "Softsign", "Abs", "Absolute", "Negative",
            "Exp", "Sqrt", "Square", "Clip", "Cast", "Identity",
        ),
        _same,
    ),
    **dict.fromkeys(("Mean", "Max", "Min", "Sum"), _reduce),
    "Concatenate": _concatenate,
    "Reshape": _reshape,
    "ExpandDims": _reshape,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Split": _split,
}  # fmt: skip
