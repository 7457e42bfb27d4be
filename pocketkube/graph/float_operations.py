"""Float operations beside multiply-adds, as TensorFlow's profiler counts them: one rule for each kind.

The profiler takes one operation for each result of an addition, product, comparison or pooled value,
two for a squared difference or an inverse root, five for a softmax, and none for what it has no figure
for, such as sigmoid, exponential or ReLU.
"""

import math
from collections.abc import Callable
from typing import Any

import keras

from pocketkube.graph.calls import LayerCall
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.macs import attention_projections
from pocketkube.graph.recurrent import RECURRENT, cells_of, gates_of
from pocketkube.keras_private import CustomScaleLayer, LayerScale, attention_axes

layers = keras.layers
Rule = Callable[[LayerCall], int]


def count_other_flops(call: LayerCall) -> int:
    """Float operations of one call at batch size 1 that are no multiply-adds.

    Args:
        call: The call.

    Returns:
        Their number: the layer's own, its bias and its activation; 0 for a layer without a rule.
    """
    op = call.op
    kind = computes_as(op)
    own = FLOPS.get(kind)
    if own is None and not isinstance(op, layers.Layer):
        own = OPERATION_FLOPS.get(type(op).__name__)
    bias = _size(call) if getattr(op, "use_bias", False) and kind in BIASED else 0
    return (own(call) if own else 0) + bias + _activation(call)


def _size(call: LayerCall) -> int:
    return math.prod(call.outputs[0])


def _input_size(call: LayerCall) -> int:
    return math.prod(call.shapes[0])


def _for_each_output(operations: int) -> Rule:
    return lambda call: operations * _size(call)


def _for_each_input(operations: int) -> Rule:
    return lambda call: operations * _input_size(call)


def _merge(call: LayerCall) -> int:
    return (len(call.shapes) - 1) * _size(call)


def _average(call: LayerCall) -> int:
    return len(call.shapes) * _size(call)


def _pool(call: LayerCall) -> int:
    return math.prod(call.op.pool_size) * _size(call)


def _activation(call: LayerCall) -> int:
    name = getattr(getattr(call.op, "activation", None), "__name__", "")
    return ACTIVATION_FLOPS.get(name, 0) * _size(call)


def _batch_normalization(call: LayerCall) -> int:
    # One product and one sum for each value; the scale and the offset, once for each channel.
    op: Any = call.op
    return 2 * _size(call) + (5 + bool(op.scale)) * call.outputs[0][op.axis]


def _attention(call: LayerCall) -> int:
    """The softmax, the scaled queries and the biases of the projections."""
    op, query, value = call.op, call.arguments["query"], call.arguments["value"]
    key = call.arguments.get("key") or value
    grouped = isinstance(op, layers.GroupQueryAttention)
    heads = op.num_query_heads if grouped else op.num_heads
    axes = (1,) if grouped else attention_axes(op)
    queries = math.prod(query[1:-1])
    softmax = 5 * heads * queries * math.prod(key[axis] for axis in axes)
    scaling = queries * heads * (op.head_dim if grouped else op.key_dim)
    biases = sum(
        math.prod(shape[1:-1]) * math.prod(dense.bias.shape)
        for shape, dense in attention_projections(call)
        if dense.bias is not None
    )
    return softmax + scaling + biases


def _dot_attention(call: LayerCall) -> int:
    """The softmax and the scale; where scores are sums over channels, what makes them."""
    if call.op.score_mode == "concat":
        return _sums_of_channels(call, scaled=bool(call.op.use_scale)) + _pairs(call)
    return (5 + bool(call.op.use_scale)) * _pairs(call)


def _additive_attention(call: LayerCall) -> int:
    # Without a scale it multiplies by one.
    return _sums_of_channels(call, scaled=True)


def _sums_of_channels(call: LayerCall, *, scaled: bool) -> int:
    """Scores of queries and keys, each channel's of which are added, and these are; and the softmax."""
    width = call.shapes[0][-1]
    return ((1 + scaled) * width + width - 1 + 5) * _pairs(call)


def _pairs(call: LayerCall) -> int:
    """Of a query and a key."""
    query, value, *rest = call.shapes
    return query[1] * (rest[0] if rest else value)[1]


def _each_step(call: LayerCall) -> int:
    """The bias and the activation of a dense layer."""
    name = getattr(call.op.layer.activation, "__name__", "")
    return (call.op.layer.use_bias + ACTIVATION_FLOPS.get(name, 0)) * _size(call)


def _recurrent(call: LayerCall) -> int:
    """At each step what comes in is added to what was before, and gates applied; directions merged."""
    total = 0
    for cell in cells_of(call.op):
        biases = cell.use_bias * gates_of(cell) * (1 + getattr(cell, "reset_after", False))
        total += call.shapes[0][1] * cell.units * (STEP_FLOPS[computes_as(cell)] + biases)
    merges = str(getattr(call.op, "merge_mode", ""))
    return total + {"sum": 1, "mul": 1, "ave": 2}.get(merges, 0) * _size(call)


ACTIVATION_FLOPS = {"silu": 2, "gelu": 4, "hard_sigmoid": 2, "hard_silu": 3, "softmax": 5}

# Of a unit at one step, without biases.
STEP_FLOPS: dict[type, int] = {layers.LSTMCell: 8, layers.GRUCell: 8, layers.SimpleRNNCell: 1}

# Layers whose output is as large as what their bias is added to.
BIASED = {
    layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Conv1DTranspose, layers.Conv2DTranspose,
    layers.Conv3DTranspose, layers.DepthwiseConv1D, layers.DepthwiseConv2D, layers.SeparableConv1D,
    layers.SeparableConv2D, layers.Dense, layers.EinsumDense,
}  # fmt: skip

FLOPS: dict[type, Rule] = {
    layers.BatchNormalization: _batch_normalization,
    # Mean and variance take four operations for each value, the normalisation two.
    layers.LayerNormalization: _for_each_output(6),
    layers.GroupNormalization: _for_each_output(6),
    layers.RMSNormalization: _for_each_output(4),
    layers.Normalization: _for_each_output(2),
    layers.Rescaling: _for_each_output(2),
    LayerScale: _for_each_output(1),
    CustomScaleLayer: _for_each_output(2),
    layers.Softmax: _for_each_output(5),
    layers.PReLU: _for_each_output(2),
    layers.MultiHeadAttention: _attention,
    layers.GroupQueryAttention: _attention,
    layers.Attention: _dot_attention,
    layers.AdditiveAttention: _additive_attention,
    layers.Average: _average,
    **dict.fromkeys(RECURRENT, _recurrent),
    layers.TimeDistributed: _each_step,
    **dict.fromkeys(
        (layers.Add, layers.Subtract, layers.Multiply, layers.Maximum, layers.Minimum), _merge
    ),
    **dict.fromkeys(
        (
            layers.MaxPooling1D,
            layers.MaxPooling2D,
            layers.MaxPooling3D,
            layers.AveragePooling1D,
            layers.AveragePooling2D,
            layers.AveragePooling3D,
        ),
        _pool,
    ),
    **dict.fromkeys(
        (
            layers.GlobalAveragePooling1D,
            layers.GlobalAveragePooling2D,
            layers.GlobalAveragePooling3D,
            layers.GlobalMaxPooling1D,
            layers.GlobalMaxPooling2D,
            layers.GlobalMaxPooling3D,
        ),
        _for_each_input(1),
    ),
}

OPERATION_FLOPS: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "Add", "Subtract", "Multiply", "TrueDivide", "Divide", "Maximum", "Minimum", "Negative",
            "Square",
        ),
        _for_each_output(1),
    ),
    **dict.fromkeys(("Mean", "Sum", "Max", "Min"), _for_each_input(1)),
    "Silu": _for_each_output(2),
    "Gelu": _for_each_output(4),
    "HardSigmoid": _for_each_output(2),
    "HardSilu": _for_each_output(3),
    "Softmax": _for_each_output(5),
}  # fmt: skip
