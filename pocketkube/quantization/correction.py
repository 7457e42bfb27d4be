"""Makes up in the biases for the mean of what rounding changes."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.dataset import Arrays
from pocketkube.graph.walk import functional_graph, walk
from pocketkube.quantization.aware import QuantizationAware
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.insertion import LINEAR, Prepared

# Bytes that all activations of the examples may take, whole and rounded.
LARGEST = 2**29
MOST = 256


def correct_biases(prepared: Prepared, method: QuantizationAware, calibration: Arrays) -> None:
    """Shifts each bias so that its layer's mean output is that of the whole model.

    Layer after layer, each on inputs that come from layers already corrected (empirical bias
    correction, Nagel et al., 2019).

    Args:
        prepared: The model, its roundings calibrated; biases are changed in place.
        method: How its weights are rounded.
        calibration: Examples; as many are taken as fit into half a gibibyte.
    """
    rounded = {id(kernel): value for kernel, value in method.replaced()}
    inputs = [tf.constant(x[: _fitting(prepared.model)]) for x in calibration]
    whole_biases: dict[int, tf.Tensor] = {}

    def visit(path: str, node: Any, taken: list[Any]) -> Sequence[Any]:
        op = node.operation
        if isinstance(op, FakeQuantize):
            return [(taken[0][0], op(taken[0][1]))]
        kernel: Any = getattr(op, "kernel", None)
        bias: Any = getattr(op, "bias", None)
        corrected = isinstance(op, LINEAR) and bias is not None and id(kernel) in rounded
        first = corrected and id(bias) not in whole_biases
        if first:
            whole_biases[id(bias)] = tf.identity(bias.value)
        was = [(bias, whole_biases[id(bias)])] if corrected else []
        now = [(kernel, rounded[id(kernel)])] if id(kernel) in rounded else []
        whole = _call(node, [a for a, _ in taken], was)
        on_levels = _call(node, [b for _, b in taken], now)
        if first:
            axes = list(range(len(whole[0].shape) - 1))
            shift = tf.reduce_mean(whole[0], axes) - tf.reduce_mean(on_levels[0], axes)
            bias.assign_add(shift)
            on_levels = [on_levels[0] + shift]
        return list(zip(whole, on_levels, strict=True))

    walk(functional_graph(prepared.model), [(x, x) for x in inputs], visit)


def _fitting(model: keras.Model) -> int:
    """How many examples can be in memory with all that becomes of them."""
    size = 0

    def visit(path: str, node: Any, taken: list[Any]) -> list[None]:
        nonlocal size
        size += sum(int(np.prod([n or 1 for n in x.shape[1:]])) for x in node.outputs)
        return [None] * len(node.outputs)

    function = functional_graph(model)
    walk(function, [None] * len(function.inputs), visit)
    return max(1, min(MOST, LARGEST // (8 * size)))


def _call(node: Any, taken: Sequence[Any], mapping: Sequence[tuple[Any, Any]]) -> list[Any]:
    args, kwargs = node.arguments.fill_in(dict(zip(map(id, node.input_tensors), taken, strict=True)))
    with keras.StatelessScope(state_mapping=list(mapping)):
        return keras.tree.flatten(node.operation(*args, **kwargs))
