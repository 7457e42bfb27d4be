"""The ranges that a network's tensors have on examples, which 8-bit integers are to span.

The converter's own calibration reads a tensor's memory again when it has become another's: an addition
may put its result in the place of what it reads. What a block adds to its input then seems as wide as
their sum (seen in TensorFlow 2.21). Here every tensor keeps its place.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from pocketkube.litert.flatbuffer import read_model, write_model
from pocketkube.processes.cores import usable_cores


def with_measured_ranges(calibrated: bytes, examples: Iterable[Mapping[str, np.ndarray]]) -> bytes:
    """Measures the ranges of all that the operations of a file's first graph give.

    Args:
        calibrated: A LiteRT file in floats, with ranges.
        examples: One after the other, each with all inputs by name.

    Returns:
        The file with the ranges that were found; those of other tensors stay.
    """
    interpreter = Interpreter(
        model_content=calibrated,
        num_threads=usable_cores(),
        experimental_preserve_all_tensors=True,
        # A delegate computes several operations at once, and shows nothing in between.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    runner = interpreter.get_signature_runner()
    model = read_model(calibrated)
    graph = model.subgraphs[0]
    given = {
        int(number)
        for one in graph.operators
        for number in one.outputs
        if graph.tensors[int(number)].type == schema.TensorType.FLOAT32
    }
    lows, highs = dict.fromkeys(given, np.inf), dict.fromkeys(given, -np.inf)
    for example in examples:
        runner(**example)
        for number in given:
            values: Any = interpreter.get_tensor(number)
            if not values.size:
                continue
            lows[number] = min(lows[number], float(values.min()))
            highs[number] = max(highs[number], float(values.max()))
    for number in given:
        known = graph.tensors[number].quantization
        if known is not None and known.min is not None and lows[number] <= highs[number]:
            known.min, known.max = [lows[number]], [highs[number]]
    return write_model(model, len(calibrated))
