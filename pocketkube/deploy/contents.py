"""Says of a LiteRT file in which numbers it holds and computes what."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from pocketkube.deploy.integers import BIAS_AT, KERNEL_AT
from pocketkube.deploy.litert_file import NAMES, code_of, is_constant, read_model

Number, Operator = schema.TensorType, schema.BuiltinOperator
CONVERSIONS = (Operator.QUANTIZE, Operator.DEQUANTIZE)
STORED = {Number.INT4: "in 4 bits", Number.INT8: "in 8 bits", Number.FLOAT32: "as floats"}


def notes_on(content: bytes) -> list[str]:
    """Sentences for the user about a file that holds integers; none about one that does not.

    Args:
        content: The file's content.
    """
    model = read_model(content)
    kernels = Counter(tensor.type for tensor in _kernels(model))
    counted = [f"{kernels[kind]} {how}" for kind, how in STORED.items() if kernels[kind]]
    if not kernels[Number.INT4] + kernels[Number.INT8]:
        return []
    notes = [f"Kernels in the file: {_listed(counted)}."]
    if any(code_of(model, operator) in CONVERSIONS for _, operator in _operators(model)):
        floats = sorted({NAMES[code_of(model, operator)] for operator in _in_floats(model)})
        if floats:
            notes.append(f"Computed in floats, integers converted and back: {_listed(floats)}.")
    return notes


def _operators(model: Any) -> Iterator[tuple[Any, Any]]:
    """Each operator, after its graph."""
    for graph in model.subgraphs:
        for operator in graph.operators:
            yield graph, operator


def _kernels(model: Any) -> list[Any]:
    """Constants that convolutions and dense layers multiply by, one that is shared once."""
    found = {
        id(tensor): tensor
        for graph, operator in _operators(model)
        if code_of(model, operator) in BIAS_AT
        and is_constant(model, tensor := graph.tensors[operator.inputs[KERNEL_AT]])
    }
    return list(found.values())


def _in_floats(model: Any) -> Iterator[Any]:
    for graph, operator in _operators(model):
        ends = [
            graph.tensors[number] for number in (*operator.inputs, *operator.outputs) if number >= 0
        ]
        computed = [tensor.type for tensor in ends if not is_constant(model, tensor)]
        if Number.FLOAT32 in computed and code_of(model, operator) not in CONVERSIONS:
            yield operator


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
