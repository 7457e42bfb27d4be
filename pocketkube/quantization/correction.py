"""Bias correction: biases make up for the mean error that rounding adds to a layer's outputs."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.dataset import Arrays
from pocketkube.graph.kinds import is_one_of
from pocketkube.graph.walk import computed, functional_graph, walk
from pocketkube.quantization.aware import QuantizationAware
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.insertion import LINEAR, Prepared

# Bytes that the activations of all examples may take, of the original and the quantised model together.
MOST_BYTES = 2**29
MOST_EXAMPLES = 256
# Every fourth example is held out, to check a correction on it.
HOLD_OUT_EVERY = 4
# A shift counts if it is this many of its standard errors from zero; one example alone gives none.
STANDARD_ERRORS = 2.0


def correct_biases(prepared: Prepared, method: QuantizationAware, calibration: Arrays) -> None:
    """Shifts each bias so that its layer's mean output is that of the whole model.

    Layer after layer, each on inputs that come from layers already corrected (empirical bias
    correction, Nagel et al., 2019). A channel's shift is taken only where it is two standard errors
    from zero and brings the mean nearer on examples that are held back, one in four; of fewer than four
    examples none is.

    Args:
        prepared: The model, its roundings calibrated; biases are changed in place.
        method: How its weights are rounded.
        calibration: Examples; as many are taken as fit into half a gibibyte.
    """
    rounded = {id(kernel): value for kernel, value in method.replaced()}
    function, count = functional_graph(prepared.model), _fitting(prepared.model)
    examples = [
        tf.cast(x[:count], of.dtype) for x, of in zip(calibration, function.inputs, strict=True)
    ]
    whole_biases: dict[int, tf.Tensor] = {}

    def visit(path: str, node: Any, inputs: list[Any]) -> Sequence[Any]:
        op = node.operation
        if isinstance(op, FakeQuantize):
            return [(inputs[0][0], op(inputs[0][1]))]
        kernel: Any = getattr(op, "kernel", None)
        bias: Any = getattr(op, "bias", None)
        corrected = _is_linear(op) and bias is not None and id(kernel) in rounded
        first = corrected and id(bias) not in whole_biases
        if first:
            whole_biases[id(bias)] = tf.identity(bias.value)
        was = [(bias, whole_biases[id(bias)])] if corrected else []
        now = [(kernel, rounded[id(kernel)])] if id(kernel) in rounded else []
        whole = _call(node, [a for a, _ in inputs], was)
        on_levels = _call(node, [b for _, b in inputs], now)
        if first:
            missing = np.asarray(whole[0], np.float64) - np.asarray(on_levels[0], np.float64)
            axis = 1 if getattr(op, "data_format", "") == "channels_first" else missing.ndim - 1
            shift = _shift(np.moveaxis(missing, axis, -1))
            bias.assign_add(shift)
            on_levels = [on_levels[0] + shift.reshape([-1] + [1] * (missing.ndim - 1 - axis))]
        return list(zip(whole, on_levels, strict=True))

    walk(function, [(x, x) for x in examples], visit)


def _is_linear(op: Any) -> bool:
    """Whether a layer's bias is the last thing that it adds."""
    return is_one_of(op, LINEAR) and op.activation is keras.activations.linear


def _shift(missing: np.ndarray) -> np.ndarray:
    """The mean error of each channel, where it is significant and the held-out examples agree; else 0.

    Args:
        missing: Original minus quantised outputs, `[n, …, channels]`.

    Returns:
        `[channels]`.
    """
    each = missing.mean(axis=tuple(range(1, missing.ndim - 1)))
    held_back = np.arange(len(each)) % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1
    seen, others = each[~held_back], each[held_back]
    if len(seen) < 2 or not len(others):
        return np.zeros(each.shape[-1], np.float32)
    shift, wanted = seen.mean(axis=0), others.mean(axis=0)
    doubt = seen.std(axis=0, ddof=1) / np.sqrt(len(seen))
    significant = (np.abs(shift) > STANDARD_ERRORS * doubt) & (np.abs(wanted - shift) < np.abs(wanted))
    return np.where(significant, shift, 0.0).astype(np.float32)


def _fitting(model: keras.Model) -> int:
    """How many examples fit into memory with all their activations."""
    size = 0

    def visit(path: str, node: Any, inputs: list[Any]) -> list[None]:
        nonlocal size
        size += sum(int(np.prod([n or 1 for n in x.shape[1:]])) for x in node.outputs)
        return [None] * len(node.outputs)

    function = functional_graph(model)
    walk(function, [None] * len(function.inputs), visit)
    return max(1, min(MOST_EXAMPLES, MOST_BYTES // (8 * size)))


def _call(node: Any, inputs: Sequence[Any], mapping: Sequence[tuple[Any, Any]]) -> list[Any]:
    with keras.StatelessScope(state_mapping=list(mapping)):
        return computed(node, inputs)
