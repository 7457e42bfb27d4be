"""How many multiply-adds and other operations one operation of a TensorFlow graph takes."""

import math
import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

Rule = Callable[[Any], int]


def macs_of_operation(op: Any) -> int | None:
    """The multiply-adds of one operation.

    Args:
        op: A tf.Operation that calls no function.

    Returns:
        Their number, or None where the operation may multiply and no rule knows it, or a shape is open.
    """
    rule = MACS.get(op.type)
    try:
        if rule is not None:
            return rule(op)
    except ValueError:
        return None
    # Operations of other libraries are in no list of TensorFlow's own.
    return None if MAY_MULTIPLY.search(op.type) or not hasattr(tf.raw_ops, op.type) else 0


def other_flops_of_operation(op: Any) -> int:
    """Float operations of one operation beside multiply-adds, as TensorFlow's profiler counts them."""
    try:
        if op.type in POOLING:
            return math.prod(op.get_attr("ksize")) * _size(op.outputs[0])
        if op.type in REDUCTIONS:
            return REDUCTIONS[op.type] * _size(op.inputs[0])
        return FLOPS[op.type] * _size(op.outputs[0]) if op.type in FLOPS else 0
    except ValueError:
        return 0


def _size(tensor: Any) -> int:
    return math.prod(_shape(tensor))


def _shape(tensor: Any) -> list[int]:
    """A tensor's shape; ValueError where it is open."""
    shape: list[int] = tensor.shape.as_list()
    if None in shape:
        raise ValueError(f"{tensor.name} has an open shape")
    return shape


def _convolution(op: Any) -> int:
    kernel = _shape(op.inputs[1])
    return _size(op.outputs[0]) * math.prod(kernel[:-1])


def _depthwise(op: Any) -> int:
    return _size(op.outputs[0]) * math.prod(_shape(op.inputs[1])[:2])


def _transposed_convolution(op: Any) -> int:
    # Every input position is multiplied with the whole kernel, [..., out, in], and scattered.
    return _size(op.inputs[2]) * math.prod(_shape(op.inputs[1])[:-1])


def _transposed_depthwise(op: Any) -> int:
    return _size(op.inputs[2]) * math.prod(_shape(op.inputs[1])[:2])


def _matmul(op: Any) -> int:
    return _size(op.outputs[0]) * _shape(op.inputs[0])[-2 if op.get_attr("transpose_a") else -1]


def _batch_matmul(op: Any) -> int:
    return _size(op.outputs[0]) * _shape(op.inputs[0])[-2 if op.get_attr("adj_x") else -1]


def _einsum(op: Any) -> int:
    equation = op.get_attr("equation").decode()
    if len(op.inputs) == 1:
        return 0
    terms, out = equation.split("->")
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms.split(","), op.inputs, strict=True):
        before, _, after = term.partition("...")
        shape = _shape(tensor)
        sizes |= zip(before, shape, strict=False)
        sizes |= zip(reversed(after), reversed(shape), strict=False)
    contracted = math.prod(size for label, size in sizes.items() if label not in out)
    return _size(op.outputs[0]) * contracted


MACS: dict[str, Rule] = {
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed_convolution,
    "Conv3DBackpropInputV2": _transposed_convolution,
    "DepthwiseConv2dNativeBackpropInput": _transposed_depthwise,
    "MatMul": _matmul,
    "BatchMatMul": _batch_matmul,
    "BatchMatMulV2": _batch_matmul,
    "BatchMatMulV3": _batch_matmul,
    "Einsum": _einsum,
}

# What TensorFlow calls operations that multiply, and those that run code which cannot be seen.
MAY_MULTIPLY = re.compile(
    r"MatMul|Matmul|Conv(?!ert)|Einsum|Dot|FFT|RNN|LSTM|GRU|Cholesky|Svd|Qr$|^Lu$|Eig|Solve|Inverse|"
    r"Determinant|PyFunc|XlaCall|XlaLaunch|Spectrogram|Mfcc|TPU|TRT"
)

FLOPS = {
    **dict.fromkeys(
        (
            "Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "Pow", "Square", "Neg",
            "Log", "Reciprocal", "BiasAdd", "Greater", "GreaterEqual", "Less", "LessEqual", "Equal",
            "NotEqual",
        ),
        1,
    ),
    "Rsqrt": 2,
    "SquaredDifference": 2,
    "Softmax": 5,
}  # fmt: skip

REDUCTIONS = {"Mean": 1, "Sum": 1, "Max": 1, "Min": 1, "ArgMax": 1, "ArgMin": 1}

POOLING = {"AvgPool", "MaxPool"}
