"""Repairs reversals in LiteRT files of integers, whose kernel copies bytes whatever they stand for."""

import copy
from collections.abc import Iterator
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from pocketkube.litert.flatbuffer import code_of, read_model, write_model

Operator = schema.BuiltinOperator


def with_reversals_rescaled(content: bytes) -> bytes:
    """Brings what was reversed from its input's scale to the one that the converter says it has.

    Where a reversed tensor is joined to another one, as in a Bidirectional layer, the converter gives
    it the scale of both together, and does not see that REVERSE_V2 only copies.

    Args:
        content: A LiteRT file of integers.

    Returns:
        The file; as it is where all reversals keep their scale.
    """
    model = read_model(content)
    rescaled = False
    for graph in model.subgraphs:
        operators = list(graph.operators)
        graph.operators = [each for one in operators for each in _rescaled(model, graph, one)]
        rescaled = rescaled or len(graph.operators) > len(operators)
    return write_model(model, len(content)) if rescaled else content


def _rescaled(model: Any, graph: Any, operator: Any) -> Iterator[Any]:
    """The operator, and one more where what it gives has another scale than what it takes."""
    yield operator
    if code_of(model, operator) != Operator.REVERSE_V2:
        return
    taken, given = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if _steps(taken) == _steps(given):
        return
    reversed_ = copy.copy(given)
    reversed_.quantization = taken.quantization
    reversed_.name = given.name + b"/reversed"
    # No values: buffer 0 is the empty one.
    reversed_.buffer = 0
    graph.tensors.append(reversed_)
    quantize = schema.OperatorT()
    quantize.opcodeIndex = _number_of_quantize(model)
    quantize.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    quantize.builtinOptions = schema.QuantizeOptionsT()
    quantize.inputs, quantize.outputs = [len(graph.tensors) - 1], operator.outputs
    operator.outputs = quantize.inputs
    yield quantize


def _steps(tensor: Any) -> list[list[float]]:
    """Scales and zero points; empty of floats."""
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None:
        return []
    return [list(map(float, each)) for each in (quantization.scale, quantization.zeroPoint)]


def _number_of_quantize(model: Any) -> int:
    """QUANTIZE's place among the file's operator codes, where it is put if it is not there."""
    for number, code in enumerate(model.operatorCodes):
        if code.builtinCode == Operator.QUANTIZE:
            return number
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = Operator.QUANTIZE
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
