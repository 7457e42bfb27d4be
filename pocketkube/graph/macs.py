"""How many multiply-adds a layer's call takes: one short rule for each kind, in one table."""

import math
from collections.abc import Callable
from typing import Any

import keras

from pocketkube.graph.calls import LayerCall
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.layer_rules import rules_of
from pocketkube.graph.recurrent import RECURRENT, cells_of
from pocketkube.keras_private import (
    CustomScaleLayer,
    LayerScale,
    StochasticDepth,
    attention_axes,
    attention_projection,
    is_operation,
)

layers = keras.layers
Rule = Callable[[LayerCall], int | None]


def count_macs(call: LayerCall) -> int | None:
    """The multiply-adds of one call at batch size 1.

    As papers on compression count them: the products of convolutions, dense layers and attention,
    padding included, and nothing for biases, normalisation, pooling and element-wise work.

    Args:
        call: The call.

    Returns:
        Their number, or None where no rule knows it.
    """
    op = call.op
    if _is_foreign(getattr(op, "activation", None)):
        return None
    if isinstance(op, layers.Layer):
        added = rules_of(op)
        kind = computes_as(op)
        rule = MACS.get(kind) or REGISTERED.get(keras.saving.get_registered_name(kind))
        rule = added.macs if added else rule
        return rule(call) if rule is not None else None
    # Bare operations (x + y on symbolic tensors) have no public classes: their names are keras.ops'.
    if not is_operation(op):
        return None
    if type(op).__name__ in FREE_OPERATIONS:
        return 0
    operation = OPERATION_MACS.get(type(op).__name__)
    return operation(call) if operation is not None else None


def _is_foreign(activation: Any) -> bool:
    """Whether an activation is a function of the user's own, which may multiply."""
    return activation is not None and not getattr(activation, "__module__", "").startswith("keras.")


def _none(call: LayerCall) -> int:
    return 0


def _positions(op: Any, shape: tuple[int, ...]) -> int:
    """Positions of an image-like tensor, without its channels."""
    return math.prod(shape[2:] if op.data_format == "channels_first" else shape[1:-1])


def _convolution(call: LayerCall) -> int:
    return _positions(call.op, call.outputs[0]) * math.prod(call.op.kernel.shape)


def _transposed_convolution(call: LayerCall) -> int:
    # Every input position is multiplied with the whole kernel and scattered.
    return _positions(call.op, call.shapes[0]) * math.prod(call.op.kernel.shape)


def _separable(call: LayerCall) -> int:
    kernels = (call.op.depthwise_kernel, call.op.pointwise_kernel)
    return _positions(call.op, call.outputs[0]) * sum(math.prod(k.shape) for k in kernels)


def _dense(call: LayerCall) -> int:
    return math.prod(call.shapes[0][:-1]) * math.prod(call.op.kernel.shape)


def _each_step(call: LayerCall) -> int | None:
    inner = call.op.layer
    if computes_as(inner) is not layers.Dense or _is_foreign(inner.activation):
        return None
    return math.prod(call.shapes[0][:-1]) * math.prod(inner.kernel.shape)


def _einsum_dense(call: LayerCall) -> int:
    terms, out = call.op.equation.split("->")
    labels = terms.split(",")[1].strip()
    contracted = [
        size for label, size in zip(labels, call.op.kernel.shape, strict=True) if label not in out
    ]
    return math.prod(call.outputs[0]) * math.prod(contracted)


def _multi_head_attention(call: LayerCall) -> int:
    op = call.op
    return _attention(call, op.num_heads, op.key_dim, op.value_dim, attention_axes(op))


def _grouped_query_attention(call: LayerCall) -> int:
    op = call.op
    return _attention(call, op.num_query_heads, op.head_dim, op.head_dim, (1,))


def _attention(
    call: LayerCall, heads: int, key_size: int, value_size: int, axes: tuple[int, ...]
) -> int:
    """Projections, scores and weighted sum; a mask saves nothing."""
    query, value = call.arguments["query"], call.arguments["value"]
    key = call.arguments.get("key") or value
    projected = sum(
        math.prod(shape[1:-1]) * math.prod(dense.kernel.shape)
        for shape, dense in attention_projections(call)
    )
    pairs = math.prod(query[1:-1]) * math.prod(key[axis] for axis in axes)
    return projected + pairs * heads * (key_size + value_size)


def attention_projections(call: LayerCall) -> list[tuple[tuple[int, ...], Any]]:
    """The dense layers within an attention layer, each with the shape whose positions it is for."""
    op, query, value = call.op, call.arguments["query"], call.arguments["value"]
    key = call.arguments.get("key") or value
    projections = [
        (query, attention_projection(op, "query")),
        (key, attention_projection(op, "key")),
        (value, attention_projection(op, "value")),
        (query, attention_projection(op, "output")),
    ]
    if op.get_config()["use_gate"]:
        projections.append((query, attention_projection(op, "gate")))
    return projections


def _dot_attention(call: LayerCall) -> int:
    if call.op.score_mode == "concat":
        return _additive_attention(call)
    query, value, *rest = call.shapes
    key = rest[0] if rest else value
    return query[1] * key[1] * (key[-1] + value[-1])


def _additive_attention(call: LayerCall) -> int:
    """Scores are sums: only values are multiplied."""
    query, value = call.shapes[:2]
    return query[1] * value[1] * value[-1]


def _heads_attention(call: LayerCall) -> int:
    (_, queries, heads, width), (_, keys, _, _), value = call.shapes[:3]
    return queries * keys * heads * (width + value[-1])


def _dot_layer(call: LayerCall) -> int:
    axes = call.op.axes
    axis = axes if isinstance(axes, int) else axes[0]
    return math.prod(call.outputs[0]) * call.shapes[0][axis]


def _recurrent(call: LayerCall) -> int | None:
    cells = cells_of(call.op)
    ends = [getattr(x, name, None) for x in cells for name in ("activation", "recurrent_activation")]
    if not cells or any(map(_is_foreign, ends)):
        return None
    kernels = [kernel for cell in cells for kernel in (cell.kernel, cell.recurrent_kernel)]
    return call.shapes[0][1] * sum(math.prod(kernel.shape) for kernel in kernels)


def _matmul(call: LayerCall) -> int:
    out, first = call.outputs[0], call.arguments["x1"]
    shape = first if isinstance(first, tuple) else tuple(first.shape)
    return math.prod(out) * shape[-1]


def _einsum(call: LayerCall) -> int | None:
    subscripts = call.op.subscripts
    terms = subscripts.split("->")[0].replace(" ", "").split(",")
    # Of three and more it depends on the sizes which two are multiplied first: that is traced.
    if "." in subscripts or len(terms) != len(call.shapes) or len(terms) > 2:
        return None
    if len(terms) == 1:
        return 0
    sizes: dict[str, int] = {}
    for labels, shape in zip(terms, call.shapes, strict=True):
        sizes |= zip(labels, shape, strict=True)
    return math.prod(sizes.values())


MACS: dict[type, Rule] = {
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _convolution),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    **dict.fromkeys(
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
        _transposed_convolution,
    ),
    layers.Dense: _dense,
    layers.TimeDistributed: _each_step,
    layers.EinsumDense: _einsum_dense,
    layers.MultiHeadAttention: _multi_head_attention,
    layers.GroupQueryAttention: _grouped_query_attention,
    layers.Attention: _dot_attention,
    layers.AdditiveAttention: _additive_attention,
    layers.Dot: _dot_layer,
    **dict.fromkeys(RECURRENT, _recurrent),
    # Layers without products that count.
    **dict.fromkeys(
        (
            layers.Activation, layers.ActivityRegularization, layers.Add, layers.AlphaDropout,
            layers.Average, layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D,
            layers.BatchNormalization, layers.CategoryEncoding, layers.CenterCrop, layers.Concatenate,
            layers.Cropping1D, layers.Cropping2D, layers.Cropping3D, layers.Discretization,
            layers.Dropout, layers.ELU, layers.Embedding, layers.Flatten, layers.GaussianDropout,
            layers.GaussianNoise, layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D,
            layers.GlobalAveragePooling3D, layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D,
            layers.GlobalMaxPooling3D, layers.GroupNormalization, layers.Identity,
            layers.IntegerLookup, layers.LayerNormalization, layers.LeakyReLU, layers.Masking,
            layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D, layers.Maximum,
            layers.Minimum, layers.Multiply, layers.Normalization, layers.PReLU, layers.Permute,
            layers.RMSNormalization, layers.ReLU, layers.RepeatVector, layers.Rescaling,
            layers.Reshape, layers.Resizing, layers.Softmax, layers.SpatialDropout1D,
            layers.SpatialDropout2D, layers.SpatialDropout3D, layers.StringLookup, layers.Subtract,
            layers.UnitNormalization, layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D,
            layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D, LayerScale,
            StochasticDepth, CustomScaleLayer,
        ),
        _none,
    ),
}  # fmt: skip

# Layers that this package has of its own, by the name under which Keras knows them.
REGISTERED: dict[str, Rule] = {
    # What it rounds, LiteRT's kernels round as a part of the operation before.
    "pocketkube>FakeQuantize": _none,
    "pocketkube>MaskOf": _none,
}

OPERATION_MACS: dict[str, Callable[[LayerCall], int | None]] = {
    "Matmul": _matmul,
    "Dot": _matmul,
    "Einsum": _einsum,
    "DotProductAttention": _heads_attention,
}

# What of keras.ops is without products that count; the rest is traced where it has no rule.
FREE_OPERATIONS = {
    "Abs", "Absolute", "Add", "BroadcastTo", "Cast", "Clip", "Concatenate", "Divide", "Elu", "Exp",
    "ExpandDims", "Flip", "Gelu", "GetItem", "HardSigmoid", "HardSilu", "Identity", "LeakyRelu", "Log",
    "LogSoftmax", "Max", "MaxPool", "Maximum", "Mean", "Min", "Minimum", "Multiply", "Negative", "Pad",
    "Power", "Reciprocal", "Relu", "Relu6", "Repeat", "Reshape", "Rsqrt", "Selu", "Sigmoid", "Silu",
    "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Square", "Squeeze", "Stack",
    "Subtract", "Sum", "SwapAxes", "Take", "Tanh", "Tile", "Transpose", "TrueDivide", "Where",
}  # fmt: skip
