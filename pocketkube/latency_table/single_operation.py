"""Builds LiteRT files that hold one operation of another file, at any number of channels."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pocketkube.latency_table.operations import KERNEL_AT, NUMBERS_MOVED
from pocketkube.litert.flatbuffer import write_model
from pocketkube.litert.operations import LiteRtGraph, Operation

Operator, Number = schema.BuiltinOperator, schema.TensorType
BIAS_AT = 2


def single_operation_file(
    graph: LiteRtGraph,
    operation: Operation,
    axes: Sequence[str],
    size: Sequence[int],
    copies: int,
) -> bytes:
    """A file that computes an operation several times on the same input.

    Copies have weights of their own, and outputs of their own, which are all the file's outputs: none
    can be left out. Weights are any numbers; a padding that the runtime merges into the operation
    stands before each copy.

    Args:
        graph: The file that the operation is from.
        operation: The operation.
        axes: What its size is counted in; see `SizedOperation`.
        size: Its size along each axis; where that is not counted in channels, the file's own.
        copies: How often it is computed.

    Returns:
        The file's content.
    """
    file = _File(graph)
    in_channels, out_channels = _channels(axes, size)
    inputs = [file.tensor(tensor, _resized(graph, tensor, in_channels)) for tensor in operation.inputs]
    outputs: list[int] = []
    for _ in range(copies):
        read = list(inputs)
        if any(operation.padding):
            read[0] = file.padded(operation.inputs[0], inputs[0], operation.padding)
        given = iter(read)
        taken = [
            -1
            if number < 0
            else _constant(file, graph, place, operation, in_channels, out_channels)
            if place in operation.constants
            else next(given)
            for place, number in enumerate(map(int, operation.entry.inputs))
        ]
        made = [
            file.tensor(tensor, _resized(graph, tensor, out_channels)) for tensor in operation.outputs
        ]
        file.add(operation.entry, taken, made)
        outputs += made
    return file.written(inputs, outputs)


def _channels(axes: Sequence[str], size: Sequence[int]) -> tuple[int | None, int | None]:
    """Channels to read and to write; None for those of the file."""
    if tuple(axes) == NUMBERS_MOVED:
        return None, None
    return size[0], size[-1]


def _resized(graph: LiteRtGraph, tensor: int, channels: int | None) -> tuple[int, ...]:
    shape = graph.shape(tensor)
    return shape if channels is None else (*shape[:-1], channels)


def _constant(
    file: "_File",
    graph: LiteRtGraph,
    place: int,
    operation: Operation,
    in_channels: int | None,
    out_channels: int | None,
) -> int:
    """A constant of the operation in the new file, as large as it has to be there."""
    number = operation.constants[place]
    if in_channels is None or out_channels is None:
        return file.constant(number)
    shape = graph.shape(number)
    if place == BIAS_AT:
        return file.weights(number, (out_channels,))
    assert place == KERNEL_AT
    if operation.code == Operator.DEPTHWISE_CONV_2D:
        return file.weights(number, (*shape[:-1], out_channels))
    return file.weights(number, (out_channels, *shape[1:-1], in_channels))


class _File:
    """A file in the making, out of parts of another."""

    def __init__(self, graph: LiteRtGraph):
        self._source = graph
        self._model = schema.ModelT()
        self._model.version = 3
        # The first buffer stands for none.
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model.subgraphs = [self._graph]

    def tensor(self, source: int, shape: Sequence[int], data: np.ndarray | None = None) -> int:
        """Adds a tensor like one of the source, in another shape."""
        return self._add_tensor(self._source.tensors[source], shape, data)

    def constant(self, source: int) -> int:
        """Adds a constant of the source."""
        stored, entry = self._source.stored(source), self._source.tensors[source]
        if stored is not entry:
            return self.weights(source, entry.shape)
        data = self._source.model.buffers[stored.buffer].data
        return self._add_tensor(stored, stored.shape, data)

    def weights(self, source: int, shape: Sequence[int]) -> int:
        """Adds weights like those of the source, in another shape."""
        # Halves and sparse weights are unpacked when a file is loaded: the operation reads floats.
        entry = self._source.tensors[source]
        return self._add_tensor(entry, shape, _some(shape, entry.type))

    def padded(self, source: int, number: int, padding: Sequence[int]) -> int:
        """Adds a padding of height and width, and gives what it makes."""
        entry = self._graph.tensors[number]
        top, bottom, left, right = padding
        batch, height, width, channels = (int(size) for size in entry.shape)
        sides = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        told = schema.TensorT()
        told.type, told.name = Number.INT32, b"sides"
        amounts = self._add_tensor(told, (4, 2), sides)
        made = self.tensor(source, (batch, height + top + bottom, width + left + right, channels))
        pad = schema.OperatorT()
        pad.builtinOptionsType, pad.builtinOptions = (
            schema.BuiltinOptions.PadOptions,
            schema.PadOptionsT(),
        )
        pad.inputs, pad.outputs = [number, amounts], [made]
        code = schema.OperatorCodeT()
        code.deprecatedBuiltinCode, code.builtinCode = Operator.PAD, Operator.PAD
        # Integers are padded from the second version on.
        code.version = 2
        pad.opcodeIndex = self._code(code)
        self._graph.operators.append(pad)
        return made

    def add(self, entry: Any, inputs: list[int], outputs: list[int]) -> None:
        """Adds an operation like one of the source."""
        added = copy.copy(entry)
        added.opcodeIndex = self._code(self._source.model.operatorCodes[entry.opcodeIndex])
        added.inputs, added.outputs, added.intermediates = inputs, outputs, None
        self._graph.operators.append(added)

    def written(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file's content."""
        self._graph.inputs, self._graph.outputs = inputs, outputs
        size = sum(0 if buffer.data is None else len(buffer.data) for buffer in self._model.buffers)
        return write_model(self._model, size + 1024)

    def _code(self, code: Any) -> int:
        codes = self._model.operatorCodes
        if code not in codes:
            codes.append(code)
        return int(codes.index(code))

    def _add_tensor(self, like: Any, shape: Sequence[int], data: np.ndarray | None) -> int:
        added = copy.copy(like)
        added.shape, added.shapeSignature, added.sparsity = list(shape), None, None
        added.name = b"t%d" % len(self._graph.tensors)
        added.quantization = _fitted(like.quantization, shape)
        added.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.ascontiguousarray(data).view(np.uint8).ravel()
            self._model.buffers.append(buffer)
            added.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(added)
        return len(self._graph.tensors) - 1


def _fitted(quantization: Any, shape: Sequence[int]) -> Any:
    """A scale for each channel, however many there are now."""
    if quantization is None or quantization.scale is None or len(quantization.scale) < 2:
        return quantization
    channels = shape[quantization.quantizedDimension]
    fitted = copy.copy(quantization)
    fitted.scale = np.resize(np.asarray(quantization.scale, np.float32), channels)
    fitted.zeroPoint = np.resize(np.asarray(quantization.zeroPoint, np.int64), channels)
    fitted.min = fitted.max = None
    return fitted


def _some(shape: Sequence[int], kind: int) -> np.ndarray:
    """Numbers of a type, of which some may repeat: their values change no time."""
    size = int(np.prod(shape))
    if kind == Number.FLOAT32:
        return np.resize(_NUMBERS * np.float32(0.05), size)
    if kind == Number.INT8:
        return np.resize(np.clip(_NUMBERS * 40, -127, 127).astype(np.int8), size)
    if kind == Number.INT4:
        # Two in a byte.
        return np.resize(np.clip(_NUMBERS * 40, -127, 127).astype(np.int8), (size + 1) // 2)
    return np.resize(_NUMBERS * 1000, size).astype(np.int32)


_NUMBERS = np.random.default_rng(0).normal(size=2**14).astype(np.float32)
