"""What all that look into a LiteRT file ask of its flatbuffer."""

import struct
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pocketkube.errors import UserError
from pocketkube.litert.running import refuse_other_files

# Of operations, in capitals as the schema has them.
NAMES = {
    code: name
    for name, code in vars(schema.BuiltinOperator).items()
    if isinstance(code, int) and not name.startswith("_")
}


def read_model(content: bytes) -> Any:
    """A file's `ModelT`.

    Raises:
        UserError: If it is no LiteRT file, or cut short.
    """
    refuse_other_files(content, "What was given")
    try:
        return schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    except (struct.error, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"The LiteRT file is damaged or cut short; received {len(content)} bytes."
        ) from error


def input_ranks(file: Path) -> tuple[int, ...]:
    """How many axes each input of a file has, that of the examples included.

    Raises:
        UserError: If it is no LiteRT file, or cut short.
    """
    refuse_other_files(file, file.name)
    try:
        graph = read_model(file.read_bytes()).subgraphs[0]
    except UserError as error:
        raise UserError(f"{file.name}: {error}") from error
    shapes = (graph.tensors[number].shape for number in graph.inputs)
    return tuple(0 if shape is None else len(shape) for shape in shapes)


def write_model(model: Any, size: int) -> bytes:
    """The file of a `ModelT`, some `size` bytes long."""
    builder = _Builder(size)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Aligns byte vectors as the runtime likes them when it maps a file into memory."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        """Begins a vector; see flatbuffers."""
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def code_of(model: Any, operator: Any) -> int:
    """An operator's `BuiltinOperator`."""
    return int(model.operatorCodes[operator.opcodeIndex].builtinCode)


def data_of(model: Any, constant: Any) -> np.ndarray:
    """The bytes of a constant's values, uint8 `[size]`."""
    return np.ascontiguousarray(model.buffers[constant.buffer].data, np.uint8)


def is_constant(model: Any, tensor: Any) -> bool:
    """Whether the file holds a tensor's values."""
    return model.buffers[tensor.buffer].data is not None
