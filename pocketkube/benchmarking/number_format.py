"""Tells a LiteRT file's number format from the tensors in it."""

from collections import Counter
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

_INTEGERS = {
    schema.TensorType.INT8: "int8",
    schema.TensorType.UINT8: "uint8",
    schema.TensorType.INT16: "int16",
}


def number_format(file: Path) -> str:
    """The format in which a file holds and computes its numbers.

    Args:
        file: A .tflite file that LiteRT has accepted.

    Returns:
        "int8", "uint8" or "int16" if what flows between operations is quantized, whichever most of it
        is: states of LSTMs may be of another type, and ends of 8-bit files, which count where there is
        nothing else. "dynamic" if only weights are, "float16" if weights are halves, else "float32".
    """
    root = schema.Model.GetRootAs(file.read_bytes(), 0)
    weights: set[int] = set()
    within: Counter[int] = Counter()
    ends: Counter[int] = Counter()
    for graph in (root.Subgraphs(number) for number in range(root.SubgraphsLength())):
        at_ends = {graph.Inputs(number) for number in range(graph.InputsLength())}
        at_ends |= {graph.Outputs(number) for number in range(graph.OutputsLength())}
        for place, tensor in enumerate(map(graph.Tensors, range(graph.TensorsLength()))):
            buffer = root.Buffers(tensor.Buffer())
            # Contents beyond 2 GB lie behind the flatbuffer; the buffer then tells their place.
            constant = buffer.DataLength() > 0 or buffer.Offset() > 1
            quantization = tensor.Quantization()
            quantized = quantization is not None and quantization.ScaleLength() > 0
            if constant:
                weights.add(tensor.Type())
            elif quantized and tensor.Type() in _INTEGERS:
                (ends if place in at_ends else within)[tensor.Type()] += 1
    if flowing := within or ends:
        # Of as many it is the first.
        return _INTEGERS[max(_INTEGERS, key=lambda kind: flowing[kind])]
    if weights.intersection((*_INTEGERS, schema.TensorType.INT4)):
        return "dynamic"
    return "float16" if schema.TensorType.FLOAT16 in weights else "float32"
