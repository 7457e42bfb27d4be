"""A LiteRT file's operations as a runtime sees them that merges what it can before it computes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pocketkube.litert.flatbuffer import code_of, data_of, is_constant, read_model

Operator = schema.BuiltinOperator
_CONVOLUTIONS = (Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D)
_UNPACKING = (Operator.DENSIFY, Operator.DEQUANTIZE)
# Padding holds a number before and one after each of four axes.
_SIDES, _INNER = 8, slice(2, 6)


@dataclass(frozen=True)
class Operation:
    """What is computed, without the paddings and constants that belong to it.

    Attributes:
        code: Its `BuiltinOperator`.
        inputs: Numbers of the tensors that change with the example.
        outputs: Numbers of the tensors it gives.
        constants: Numbers of those that do not change, by their place among the inputs.
        options: Its options in the file.
        padding: Zeros above, below, left and right that an operation before it adds.
        entry: The file's own `OperatorT`.
    """

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: Mapping[int, int]
    options: Any
    padding: tuple[int, ...]
    entry: Any


class LiteRtGraph:
    """The first subgraph of a file.

    Attributes:
        model: The file's `ModelT`.
        tensors: The subgraph's `TensorT`s, by their number.
        operations: In the order in which they are computed.
        outputs: Numbers of the tensors that the model gives.
    """

    def __init__(self, content: bytes):
        self.model = read_model(content)
        self._graph = self.model.subgraphs[0]
        self.tensors = self._graph.tensors
        self._made_by = {int(number): one for one in self._graph.operators for number in one.outputs}
        self.outputs = {int(number) for number in self._graph.outputs}
        self.operations = [
            self._operation(one)
            for one in self._graph.operators
            # What makes a variable takes nothing, and what writes into one gives nothing.
            if len(one.inputs)
            and len(one.outputs)
            and not self._is_constant(int(one.outputs[0]))
            and not self._is_merged(one)
        ]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """A tensor's shape, the example's axis included."""
        return tuple(int(size) for size in self.tensors[tensor].shape)

    def stored(self, constant: int) -> Any:
        """The `TensorT` that holds a constant's values, as the file stores them."""
        return self.tensors[self._unpacked_from(constant)]

    def zeros(self, constant: int) -> tuple[int, int]:
        """How many of a constant's floats are zero, and how many there are."""
        stored = self.stored(constant)
        kind = np.float16 if stored.type == schema.TensorType.FLOAT16 else np.float32
        size = int(np.prod(stored.shape))
        return size - int(np.count_nonzero(data_of(self.model, stored).view(kind))), size

    def _operation(self, one: Any) -> Operation:
        inputs = [int(number) for number in one.inputs]
        padding: tuple[int, ...] = (0, 0, 0, 0)
        before = self._made_by.get(inputs[0])
        if before is not None and self._is_merged(before):
            inputs[0], padding = int(before.inputs[0]), self._padding(before)
        given = [(place, number) for place, number in enumerate(inputs) if number >= 0]
        constants = {place: number for place, number in given if self._is_constant(number)}
        return Operation(
            self._code(one),
            tuple(number for place, number in given if place not in constants),
            tuple(int(number) for number in one.outputs),
            constants,
            one.builtinOptions,
            padding,
            one,
        )

    def _is_merged(self, one: Any) -> bool:
        """Whether a padding becomes part of the convolution that alone reads it."""
        if self._code(one) != Operator.PAD or not self._padding(one):
            return False
        made = int(one.outputs[0])
        readers = [other for other in self._graph.operators if made in other.inputs]
        return (
            made not in self.outputs
            and len(readers) == 1
            and self._code(readers[0]) in _CONVOLUTIONS
            and readers[0].builtinOptions.padding == schema.Padding.VALID
        )

    def _padding(self, pad: Any) -> tuple[int, ...]:
        """Empty where more than height and width is padded, or what the example says."""
        entry = self.tensors[int(pad.inputs[1])]
        if not is_constant(self.model, entry):
            return ()
        kind = np.int64 if entry.type == schema.TensorType.INT64 else np.int32
        sides = data_of(self.model, entry).view(kind)
        if len(sides) != _SIDES or sides.sum() != sides[_INNER].sum():
            return ()
        return tuple(int(side) for side in sides[_INNER])

    def _is_constant(self, tensor: int) -> bool:
        return is_constant(self.model, self.tensors[self._unpacked_from(tensor)])

    def _unpacked_from(self, tensor: int) -> int:
        while tensor in self._made_by and self._code(self._made_by[tensor]) in _UNPACKING:
            tensor = int(self._made_by[tensor].inputs[0])
        return tensor

    def _code(self, one: Any) -> int:
        return code_of(self.model, one)
