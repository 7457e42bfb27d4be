"""Says of a LiteRT file in which numbers it holds and computes what."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from pocketkube.deploy.integers import BIAS_AT, KERNEL_AT
from pocketkube.litert.flatbuffer import NAMES, code_of, is_constant, read_model
from pocketkube.number_formats import NumberFormat

Number, Operator = schema.TensorType, schema.BuiltinOperator
CONVERSIONS = (Operator.QUANTIZE, Operator.DEQUANTIZE)
STORED = {Number.INT4: "in 4 bits", Number.INT8: "in 8 bits", Number.FLOAT32: "as floats"}


def notes_on(content: bytes, numbers: NumberFormat) -> list[str]:
    """Sentences for the user about a file of integers; none about one of floats.

    Args:
        content: The file's content.
        numbers: The number format that was asked for.
    """
    if numbers in ("float32", "float16"):
        return []
    model = read_model(content)
    kernels = Counter(tensor.type for tensor in _kernels(model))
    counted = [f"{kernels[kind]} {how}" for kind, how in STORED.items() if kernels[kind]]
    if not counted:
        return []
    notes = [f"Kernels in the file: {_listed(counted)}."]
    if numbers == "dynamic" and not kernels[Number.INT4] + kernels[Number.INT8]:
        notes.append(
            "LiteRT's converter keeps kernels of fewer than 1024 numbers as floats where activations "
            "are: the file is no smaller than one of float32."
        )
    if any(code_of(model, operator) in CONVERSIONS for _, operator in _operators(model)):
        floats = sorted({NAMES[code_of(model, operator)] for operator in _in_floats(model)})
        if floats:
            notes.append(f"Computed in floats, integers converted and back: {_listed(floats)}.")
    return notes


def steps_in_range(content: bytes) -> int:
    """Into how many steps a file's numbers divide a range: 256 where kernels have 8 bits or fewer."""
    model = read_model(content)
    stored = {tensor.type for tensor in _kernels(model)}
    if stored & {Number.INT4, Number.INT8}:
        return 2**8
    constants = {
        tensor.type
        for graph in model.subgraphs
        for tensor in graph.tensors
        if is_constant(model, tensor)
    }
    # A float's steps follow its size: these are those at the end of the range.
    return 2**11 if Number.FLOAT16 in constants else 2**20


def output_ranges(content: bytes) -> list[float]:
    """The range that each output has room for, in its own unit; 0 where it is not integers."""
    model = read_model(content)
    graph = model.subgraphs[0]
    made_by = {int(number): operator for operator in graph.operators for number in operator.outputs}
    ranges = []
    for number in graph.outputs:
        maker = made_by.get(int(number))
        if maker is not None and code_of(model, maker) == Operator.DEQUANTIZE:
            number = maker.inputs[0]
        scales = getattr(graph.tensors[int(number)].quantization, "scale", None)
        ranges.append(255.0 * float(scales[0]) if scales is not None and len(scales) == 1 else 0.0)
    return ranges


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
