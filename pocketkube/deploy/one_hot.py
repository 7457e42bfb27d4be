"""Repairs one-hot codes in LiteRT files of integers, whose kernel copies bytes of any scale."""

import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pocketkube.litert.flatbuffer import code_of, data_of, is_constant, read_model, write_model

# The places of what is put where the class is and where it is not, among ONE_HOT's inputs.
_VALUES_AT = (2, 3)


def with_codes_rescaled(content: bytes) -> bytes:
    """Brings the two values of one-hot codes to the scale that the converter says the codes have.

    The converter gives a constant of 0 a scale of its own, whose byte stands for a half in the codes'.

    Args:
        content: A LiteRT file of integers.

    Returns:
        The file; as it is where all codes have their values' scale.
    """
    model = read_model(content)
    rescaled = [
        _rescale(model, graph, operator, place)
        for graph in model.subgraphs
        for operator in graph.operators
        if code_of(model, operator) == schema.BuiltinOperator.ONE_HOT
        for place in _VALUES_AT
    ]
    return write_model(model, len(content)) if any(rescaled) else content


def _rescale(model: Any, graph: Any, operator: Any, place: int) -> bool:
    """Puts a new constant at a place of an operator's inputs, if it needs one; whether it does."""
    value, codes = graph.tensors[operator.inputs[place]], graph.tensors[operator.outputs[0]]
    if codes.type != schema.TensorType.INT8 or not is_constant(model, value):
        return False
    (scale, zero), (wanted_scale, wanted_zero) = _steps(value), _steps(codes)
    if (scale, zero) == (wanted_scale, wanted_zero):
        return False
    held = data_of(model, value).view(np.int8).astype(np.float64)
    levels = np.rint((held - zero) * scale / wanted_scale) + wanted_zero
    buffer = schema.BufferT()
    buffer.data = np.clip(levels, -128, 127).astype(np.int8).view(np.uint8)
    model.buffers.append(buffer)
    # What others read of the constant stays.
    anew = copy.copy(value)
    anew.quantization, anew.buffer = codes.quantization, len(model.buffers) - 1
    anew.name = value.name + b"/rescaled"
    graph.tensors.append(anew)
    operator.inputs[place] = len(graph.tensors) - 1
    return True


def _steps(tensor: Any) -> tuple[float, int]:
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
