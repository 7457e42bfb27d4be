"""How channels travel through each kind of operation: one short rule for each, in one table."""

import math
from typing import Any, TypeGuard

import keras
import numpy as np

from pocketkube.graph.attention_inputs import attention_inputs
from pocketkube.graph.channel_flow import (
    MIXED,
    WITH_OTHERS,
    ChannelFlow,
    Rule,
    halves,
    held_where_mixed,
    left_whole,
    made,
    why_held,
)
from pocketkube.graph.channels import FIXED, Channels
from pocketkube.graph.contraction_rules import CONTRACTING_LAYERS, CONTRACTING_OPERATIONS
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.layer_rules import rules_of, said_of_unknown
from pocketkube.graph.moves import MOVES, MOVING_LAYERS
from pocketkube.graph.recurrent import RECURRENT, obstacle, recurrent_channels
from pocketkube.keras_private import (
    CustomScaleLayer,
    LayerScale,
    StochasticDepth,
    attention_output_shape,
    is_operation,
)
from pocketkube.shapes import Shape

layers = keras.layers


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
        call.fix_all(why_unknown(call.op))
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
    """What changes each number by itself, and those of all channels alike."""
    return left_whole(call, OWN) if _has_own_numbers(call.op) else call.channels[0]


def _has_own_numbers(op: Any) -> bool:
    """Whether a layer or operation was made with several numbers, as keras.ops.clip may be."""
    made_with = (value for name, value in vars(op).items() if name not in PLACES and name[0] != "_")
    return any(
        isinstance(value, np.ndarray | list | tuple)
        and np.size(value) > 1
        and np.asarray(value).dtype.kind in "iuf"
        for value in made_with
    )


# What says where, and not by how much.
PLACES = ("axis", "noise_shape")


def _rescaling(call: ChannelFlow) -> Channels | None:
    numbers = np.ndim(call.op.scale) + np.ndim(call.op.offset)
    if numbers and keras.config.image_data_format() == "channels_first":
        return left_whole(call, FIRST)
    return call.channels[0]


def _channels_last_only(call: ChannelFlow) -> Channels | None:
    if _is_channels_first(call.op):
        return left_whole(call, FIRST)
    return Channels(-1, call.last())


def _is_channels_first(op: Any) -> bool:
    return getattr(op, "data_format", None) == "channels_first"


def _activation(call: ChannelFlow) -> Channels | None:
    if why := why_held(call.op.activation):
        call.fix_all(why)
    return None if halves(call.op.activation) else call.channels[0]


def _normalization(call: ChannelFlow) -> Channels | None:
    """Statistics over some axes, or weights for each position of them."""
    channels, rank = call.channels[0], len(call.shapes[0])
    axes = normalized_axes(call.op, rank)
    if channels is None or channels.axis + rank not in axes:
        return channels
    if axes[-1] != channels.axis + rank:
        return left_whole(
            call, f"its weights lie along the axes {axes}, and channels not along the last"
        )
    return channels


def normalized_axes(op: Any, rank: int) -> list[int]:
    """The axes of an input of `rank` axes along which a normalisation has weights, or statistics."""
    axis = getattr(op, "axis", -1)
    return [each % rank for each in (axis if isinstance(axis, list | tuple) else [axis])]


def _softmax(call: ChannelFlow) -> Channels | None:
    channels, rank = call.channels[0], len(call.shapes[0])
    axes = range(rank) if call.op.axis is None else normalized_axes(call.op, rank)
    if channels is not None and channels.axis + rank in axes:
        call.fix_all(MIXED.format(type(call.op).__name__.lower()))
    return channels


def _group_normalization(call: ChannelFlow) -> Channels | None:
    channels, rank = call.channels[0], len(call.shapes[0])
    if channels is None:
        return None
    if normalized_axes(call.op, rank) != [channels.axis + rank]:
        return left_whole(
            call, f"it forms its groups along axis {call.op.axis}, channels lie along another"
        )
    # A group's statistics stay what they are only if its channels go together; one of all is taken
    # over fewer, as that of a LayerNormalization is.
    if call.op.groups > 1:
        _tie_together(call, channels.ids.reshape(call.op.groups, -1))
    return channels


def _dense(call: ChannelFlow) -> Channels | None:
    call.last()
    return made(call, call.op.units)


def _each_step(call: ChannelFlow) -> Channels | None:
    """A dense layer for each step of a sequence: it reads the last axis anyway."""
    call.last()
    out = call.ledger.fresh(_key(call), call.op.layer.units)
    held_where_mixed(call, call.op.layer.activation, out)
    return Channels(-1, out)


def _embedding(call: ChannelFlow) -> Channels | None:
    return made(call, call.op.output_dim)


def _convolution(call: ChannelFlow) -> Channels | None:
    if _is_channels_first(call.op):
        return left_whole(call, FIRST)
    incoming = call.last()
    out = made(call, call.op.filters)
    filters = call.ledger.fresh(id(call.op), call.op.filters)
    groups = call.op.groups
    if groups > 1:
        inputs, outputs = incoming.reshape(groups, -1), filters.reshape(groups, -1)
        if cuts_whole_groups(call.op, incoming):
            _tie_together(call, np.concatenate([inputs, outputs], axis=1))
        else:
            _tie_together(call, inputs.T)
            _tie_together(call, outputs.T)
    return out


def cuts_whole_groups(convolution: Any, incoming: np.ndarray) -> bool:
    """Whether a grouped convolution loses whole groups or the same positions of every group.

    Whichever leaves the finer choice; no group goes where all that it reads stays.
    """
    finer = convolution.groups > len(incoming) // convolution.groups
    return bool(finer and (incoming != FIXED).any())


def _transposed_convolution(call: ChannelFlow) -> Channels | None:
    if _is_channels_first(call.op):
        return left_whole(call, FIRST)
    call.last()
    return made(call, call.op.filters)


def _depthwise(call: ChannelFlow) -> Channels | None:
    if _is_channels_first(call.op):
        return left_whole(call, FIRST)
    out = np.repeat(call.last(), call.op.depth_multiplier)
    held_where_mixed(call, call.op.activation, out)
    return Channels(-1, out)


def _attention(call: ChannelFlow) -> list[Channels | None] | Channels | None:
    op, places = call.op, attention_inputs(call.arguments)
    query, value = places["query"], places["value"]
    for name in ("query", "value", "key"):
        call.last(places.pop(name))
    # One that tells heads apart would lose them with the layer's.
    if any(len(call.shapes[place]) > 3 and call.shapes[place][1] != 1 for place in places.values()):
        return left_whole(call, "it is given a mask that is not the same for all heads")
    for channels in (call.channels[place] for place in places.values()):
        if channels is not None:
            call.hold("they are the mask of attention", channels.ids)
    grouped = isinstance(op, layers.GroupQueryAttention)
    # The heads are units of their own: no tensor outside carries them, unless scores are given.
    heads = call.ledger.fresh(heads_key(op), op.num_key_value_heads if grouped else op.num_heads)
    if len(call.out_shapes) > 1:
        call.hold("it gives the scores of each head", heads)
    shape = None if grouped else attention_output_shape(op)
    width = (shape[-1] if shape else None) or call.shapes[query][-1]
    out = call.ledger.fresh(_key(call), int(width))  # type: ignore[arg-type]
    if grouped:
        # It gives what is as wide as its query, which has to be as wide as its value.
        call.tie(out, call.last(query))
        call.tie(call.last(query), call.last(value))
    return [Channels(-1, out), *[None] * (len(call.out_shapes) - 1)]


WITH_CONSTANTS = "it joins them with numbers that are written into the network"


def _elementwise(call: ChannelFlow) -> Channels | None:
    """Operations on tensors position by position, with broadcasting."""
    out = call.out_shapes[0]
    known = [channels for channels in call.channels if channels is not None]
    if not known:
        return None
    if isinstance(call.op, layers.Layer) and _constants(call.arguments):
        return left_whole(call, WITH_CONSTANTS)
    axis = known[0].axis
    if any(channels.axis != axis for channels in known):
        return left_whole(call, "channels lie along different axes of what it works on")
    size = out[axis]
    full = [channels.ids for channels in known if len(channels.ids) == size]
    for channels in known:
        if len(channels.ids) != size:
            # One channel for all: a layer has no fewer.
            call.ledger.fix(channels.ids)
    if not full:
        return None
    for ids in full[1:]:
        call.tie(full[0], ids)
    others = [s for s, c in zip(call.shapes, call.channels, strict=True) if c is None]
    if any(len(shape) >= -axis and shape[axis] != 1 for shape in others):
        call.hold(WITH_OTHERS, full[0])
    variables = [tuple(x.shape) for x in _constants(call.arguments) if isinstance(x, keras.Variable)]
    if any(len(shape) >= -axis and shape[axis] != 1 for shape in variables):
        call.hold("it joins them with a variable that is no layer's", full[0])
    return Channels(axis, full[0])


def _constants(arguments: Any) -> list[Any]:
    """What a call was given beside tensors and numbers; arrays lose what is cut with the tensors."""
    flat = keras.tree.flatten((arguments.args, arguments.kwargs))
    return [x for x in flat if not isinstance(x, keras.KerasTensor) and hasattr(x, "shape")]


def _concatenate(call: ChannelFlow) -> Channels | None:
    rank = len(call.out_shapes[0])
    axis = call.op.axis % rank - rank
    known = [channels for channels in call.channels if channels is not None]
    if not known:
        return None
    if _constants(call.arguments):
        return left_whole(call, WITH_CONSTANTS)
    if any(channels.axis != known[0].axis for channels in known):
        return left_whole(call, "channels lie along different axes of what it joins")
    if known[0].axis != axis:
        for channels in call.channels:
            if channels is None:
                call.hold(WITH_OTHERS, known[0].ids)
            else:
                call.tie(known[0].ids, channels.ids)
        return known[0]
    pieces = []
    for shape, channels in zip(call.shapes, call.channels, strict=True):
        size = shape[axis]
        if size is None:
            return left_whole(call, "what it joins has no fixed number of channels")
        pieces.append(channels.ids if channels else np.full(size, FIXED))
    return Channels(axis, np.concatenate(pieces))


def _reshape(call: ChannelFlow) -> Channels | None:
    """Follows every element; where channels end on several axes, ties them until one is left."""
    channels = call.channels[0]
    if channels is None:
        return None
    if getattr(call.op, "data_format", "") == "channels_first":
        return left_whole(call, FIRST)
    shape, out = call.shapes[0][1:], call.out_shapes[0][1:]
    if not _is_whole(shape) or not _is_whole(out):
        return left_whole(call, "sizes beside the batch are open, so that channels cannot be followed")
    if not out:
        return left_whole(call, "an example's one number is no channel")
    ids = _spread(channels, shape).ravel()
    size = math.prod(out)
    if ids.size % size and size % ids.size:
        return left_whole(call, "it moves parts of an example into another one")
    if ids.size > size:
        # Positions are folded into the batch.
        examples = ids.reshape(-1, size)
        if len(channels.ids) != out[-1] or (examples != examples[0]).any():
            return left_whole(call, "it folds channels into the batch")
        ids = examples[0]
    elif size > ids.size:
        ids = np.tile(ids, size // ids.size)
    return _relabel(call, ids.reshape(out))


def _reduce(call: ChannelFlow) -> Channels | None:
    channels = call.channels[0]
    if channels is None:
        return None
    rank, axes = len(call.shapes[0]), call.op.axis
    axes = list(range(rank)) if axes is None else np.atleast_1d(axes).tolist()
    reduced = {a % rank for a in axes}
    position = channels.axis % rank
    if position in reduced:
        # Of channels that are zero, these are the same without them.
        adds_up = type(call.op).__name__ in ADDING_UP and getattr(call.op, "ord", None) in (None, 2)
        return (
            None
            if adds_up
            else left_whole(call, "over all channels it would give another number of fewer")
        )
    if not getattr(call.op, "keepdims", False):
        left = [a for a in range(rank) if a not in reduced]
        return Channels(left.index(position) - len(left), channels.ids)
    return channels


def _cumulate(call: ChannelFlow) -> Channels | None:
    channels, rank = call.channels[0], len(call.shapes[0])
    if channels is not None and (call.op.axis is None or call.op.axis % rank == channels.axis + rank):
        return left_whole(call, "it adds up or multiplies along channels")
    return channels


def _glu(call: ChannelFlow) -> Channels | None:
    """One half of the channels, each times a gate of the other half."""
    channels, rank = call.channels[0], len(call.shapes[0])
    if channels is None or call.op.axis % rank != channels.axis + rank:
        return channels
    values, gates = np.split(channels.ids, 2)
    call.tie(values, gates)
    return Channels(channels.axis, values)


def _key(call: ChannelFlow) -> int:
    return id(call.op)


def heads_key(attention: Any) -> tuple[int, str]:
    """The owner under which an attention layer's heads are numbered."""
    return id(attention), "heads"


def _tie_together(call: ChannelFlow, rows: np.ndarray) -> None:
    """Ties all the numbers of each row."""
    for column in rows.T[1:]:
        call.tie(rows[:, 0], column)


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
        _tie_together(call, rows)
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
    layers.GroupQueryAttention: _attention,
    layers.BatchNormalization: _normalization,
    layers.LayerNormalization: _normalization,
    layers.RMSNormalization: _normalization,
    # Channels that are zero add nothing to a length.
    layers.UnitNormalization: _same,
    layers.GroupNormalization: _group_normalization,
    LayerScale: _channels_last_only,
    # It has a number for each position of what it is given, along whichever axis channels lie.
    layers.PReLU: lambda call: call.channels[0],
    layers.Activation: _activation,
    layers.Concatenate: _concatenate,
    layers.Flatten: _reshape,
    layers.Reshape: _reshape,
    CustomScaleLayer: _elementwise,
    **MOVING_LAYERS,
    **CONTRACTING_LAYERS,
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
            layers.RepeatVector,
            layers.ReLU,
            layers.LeakyReLU,
            layers.ELU,
            layers.Identity,
            layers.Dropout,
            layers.AlphaDropout,
            layers.GaussianDropout,
            layers.GaussianNoise,
            layers.ActivityRegularization,
            layers.Masking,
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
            layers.AdaptiveAveragePooling1D,
            layers.AdaptiveAveragePooling2D,
            layers.AdaptiveAveragePooling3D,
            layers.AdaptiveMaxPooling1D,
            layers.AdaptiveMaxPooling2D,
            layers.AdaptiveMaxPooling3D,
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
            layers.Resizing,
            layers.CenterCrop,
            layers.SpatialDropout1D,
            layers.SpatialDropout2D,
            layers.SpatialDropout3D,
        ),
        _channels_last_only,
    ),
    layers.Softmax: _softmax,
    layers.Normalization: lambda call: left_whole(call, OWN),
    layers.Rescaling: _rescaling,
}

OPERATION_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "Add", "Subtract", "Multiply", "TrueDivide", "Divide", "DivideNoNan", "FloorDivide", "Mod",
            "Maximum", "Minimum", "Power", "Where", "Greater", "GreaterEqual", "Less", "LessEqual",
            "Equal", "NotEqual", "LogicalAnd", "LogicalOr", "LogicalXor", "Arctan2", "Logaddexp",
        ),
        _elementwise,
    ),
    **dict.fromkeys(
        (
            "Abs", "Absolute", "Arctan", "Cast", "Ceil", "Celu", "Clip", "Copy", "Cos", "Elu", "Erf",
            "Exp", "Expm1", "Floor", "Gelu", "HardShrink", "HardSigmoid", "HardSilu", "HardTanh",
            "Identity", "LeakyRelu", "Log", "Log10", "Log1p", "Log2", "LogSigmoid", "LogicalNot",
            "NanToNum", "Negative", "Normalize", "OnesLike", "Reciprocal", "Relu", "Relu6", "Round",
            "Rsqrt", "Selu", "Sigmoid", "Sign", "Silu", "Sin", "SoftShrink", "Softplus", "Softsign",
            "SparsePlus", "SparseSigmoid", "Sqrt", "Square", "Squareplus", "StopGradient", "Tan",
            "Tanh", "TanhShrink", "Threshold", "ZerosLike",
        ),
        _same,
    ),
    **dict.fromkeys(
        (
            "All", "Any", "Argmax", "Argmin", "CountNonzero", "Logsumexp", "Max", "Mean", "Median",
            "Min", "Norm", "Prod", "Std", "Sum", "Var",
        ),
        _reduce,
    ),
    **dict.fromkeys(
        ("AdaptiveAveragePool", "AdaptiveMaxPool", "AveragePool", "MaxPool", "Resize"),
        _channels_last_only,
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("Cumsum", "Cumprod"), _cumulate),
    **dict.fromkeys(("Reshape", "ExpandDims", "Squeeze"), _reshape),
    "Concatenate": _concatenate,
    "Glu": _glu,
    **MOVES,
    **CONTRACTING_OPERATIONS,
}  # fmt: skip

# Of channels that are zero they give what they give without them.
ADDING_UP = {"Sum", "Norm"}
UNKNOWN = "no rule knows it, so that all that goes in and out stays"


def why_unknown(op: Any) -> str:
    """Why all that goes in and out of a layer or operation stays, for which there is no rule."""
    known = obstacle(op)
    return f"it {known}" if known else f"{UNKNOWN}{said_of_unknown(op)}"


FIRST = "it works channels first; build the network with data_format='channels_last'"
OWN = "it has numbers of its own for each channel, which no rule cuts; a BatchNormalization has one"
