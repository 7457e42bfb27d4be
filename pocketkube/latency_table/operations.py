"""Reads from a LiteRT file which kinds of operation it consists of, and how large each one is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pocketkube.litert.flatbuffer import NAMES
from pocketkube.litert.operations import LiteRtGraph, Operation

Operator = schema.BuiltinOperator
KERNEL_AT = 1
# The axes along which times are interpolated. Of all but these three operations, the time follows how
# many numbers are read and written.
CHANNEL_AXES = {
    Operator.CONV_2D: ("in_channels", "out_channels"),
    Operator.DEPTHWISE_CONV_2D: ("channels",),
    Operator.FULLY_CONNECTED: ("in_channels", "out_channels"),
}
NUMBERS_MOVED = ("numbers_moved",)
# Of each convolution: at which place it reads what it convolves, and which axes of its kernel are those
# of the window. Before what they read, transposed ones are told what shape to make.
_CONVOLUTIONS = {
    Operator.CONV_2D: (0, slice(1, 3)),
    Operator.DEPTHWISE_CONV_2D: (0, slice(1, 3)),
    Operator.TRANSPOSE_CONV: (2, slice(1, 3)),
    Operator.CONV_3D: (0, slice(0, 3)),
    Operator.CONV_3D_TRANSPOSE: (2, slice(0, 3)),
}
_TYPES = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
_PADDINGS = {schema.Padding.SAME: "same", schema.Padding.VALID: "valid"}


@dataclass(frozen=True)
class SizedOperation:
    """One operation of a network.

    Attributes:
        kind: Everything that its time depends on but its size, in words: "CONV_2D float32 32x32,
            kernel 3x3, stride 1x1, same padding".
        axes: What its size is counted in: names from `CHANNEL_AXES`, or `NUMBERS_MOVED`.
        lengths: Its size along each of the axes, as numbers to add up: of what is read and written, one
            for each tensor.
    """

    kind: str
    axes: tuple[str, ...]
    lengths: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Its size along each of the axes."""
        return tuple(map(sum, self.lengths))


def operations_of(graph: LiteRtGraph) -> list[tuple[SizedOperation, Operation]]:
    """The operations that a file computes, each with what the file says of it.

    A function that an operation ends with (ReLU, ReLU6) costs nothing beside it, and is left out of its
    kind.
    """
    return [(sized(graph, operation), operation) for operation in graph.operations]


def sized(graph: LiteRtGraph, operation: Operation) -> SizedOperation:
    """An operation's kind and size."""
    axes = channel_axes(graph, operation)
    numbers = _numbers(graph, operation)
    name = _name(graph, operation)
    if not axes:
        moved = tuple(_length(graph, tensor) for tensor in (*operation.inputs, *operation.outputs))
        return SizedOperation(_other_kind(name, numbers, graph, operation), NUMBERS_MOVED, (moved,))
    kernel = graph.shape(operation.constants[KERNEL_AT])
    if operation.code == Operator.FULLY_CONNECTED:
        rows = _length(graph, operation.outputs[0]) // kernel[0]
        return SizedOperation(f"{name} {numbers}, rows {rows}", axes, ((kernel[1],), (kernel[0],)))
    made = ((kernel[0],),) if operation.code == Operator.CONV_2D else ()
    kind = ", ".join(_convolution_words(name, numbers, graph, operation))
    return SizedOperation(kind, axes, ((kernel[3],), *made))


def channel_axes(graph: LiteRtGraph, operation: Operation) -> tuple[str, ...]:
    """The axes of an operation that can be measured at any number of channels; empty for others.

    Convolutions in groups, depthwise ones of several outputs for an input, and kernels that are no
    constants are such others.
    """
    axes = CHANNEL_AXES.get(operation.code, ())
    if not axes or KERNEL_AT not in operation.constants:
        return ()
    kernel = graph.shape(operation.constants[KERNEL_AT])
    taken = graph.shape(operation.inputs[0])
    is_whole = operation.code == Operator.FULLY_CONNECTED or kernel[3] == taken[3]
    return axes if is_whole else ()


def multiply_adds(sized_as: SizedOperation, graph: LiteRtGraph, operation: Operation) -> float:
    """About how much an operation computes, so that a measurement can be made long enough."""
    if sized_as.axes == NUMBERS_MOVED:
        return 10.0 * sized_as.size[0]
    kernel = graph.shape(operation.constants[KERNEL_AT])
    made = graph.shape(operation.outputs[0])
    positions = float(np.prod(made[:-1]))
    window = float(np.prod(kernel[1:-1])) if len(kernel) > 2 else 1.0
    return positions * window * float(np.prod(sized_as.size))


def _name(graph: LiteRtGraph, operation: Operation) -> str:
    name = NAMES[operation.code]
    if operation.code != Operator.CUSTOM:
        return name
    entry = graph.model.operatorCodes[operation.entry.opcodeIndex]
    return f"{name} {entry.customCode.decode()}"


def _numbers(graph: LiteRtGraph, operation: Operation) -> str:
    """The number type that is computed in; that of the kernel, too, where it is another."""
    read = operation.inputs[0] if operation.inputs else operation.outputs[0]
    types = [_TYPES[graph.tensors[read].type]]
    if operation.code in CHANNEL_AXES and KERNEL_AT in operation.constants:
        kernel = graph.stored(operation.constants[KERNEL_AT]).type
        # Halves are unpacked once, when the file is loaded.
        types.append("float32" if kernel == schema.TensorType.FLOAT16 else _TYPES[kernel])
    else:
        types.append(_TYPES[graph.tensors[operation.outputs[0]].type])
    return " x ".join(dict.fromkeys(types))


def _other_kind(name: str, numbers: str, graph: LiteRtGraph, operation: Operation) -> str:
    if operation.code in _CONVOLUTIONS:
        words = [
            *_convolution_words(name, numbers, graph, operation),
            *_grouping_words(graph, operation),
        ]
        return ", ".join(words)
    shapes = {graph.shape(tensor) for tensor in operation.inputs}
    words = [f"{name} {numbers}"]
    if len(operation.inputs) > 1:
        words.append(
            f"{len(operation.inputs)} inputs" + (" of several shapes" if len(shapes) > 1 else "")
        )
    options = operation.options
    if hasattr(options, "filterHeight"):
        words.append(f"window {options.filterHeight}x{options.filterWidth}")
        words.append(f"stride {options.strideH}x{options.strideW}")
    if any(operation.padding):
        words.append("padded")
    return ", ".join(words)


def _convolution_words(name: str, numbers: str, graph: LiteRtGraph, operation: Operation) -> list[str]:
    """All that the time of a convolution depends on but its channels."""
    options, (read_at, window) = operation.options, _CONVOLUTIONS[operation.code]
    taken = operation.inputs[0] if read_at == 0 else int(operation.entry.inputs[read_at])
    kernel = _kernel(graph, operation)[window]
    examples, *lengths, _ = graph.shape(taken)
    sides = ("D", "H", "W")[-len(kernel) :]
    strides = [getattr(options, f"stride{side}") for side in sides]
    # Transposed ones have no dilation in their files.
    dilations = [getattr(options, f"dilation{side}Factor", 1) for side in sides]
    return [
        f"{name} {numbers} {_times(lengths)}",
        # More than one where a layer computes each step of time alike.
        *([f"{examples} at a time"] if examples != 1 else []),
        f"kernel {_times(kernel)}",
        f"stride {_times(strides)}",
        *([f"dilation {_times(dilations)}"] if set(dilations) != {1} else []),
        (
            "padding " + "+".join(map(str, operation.padding))
            if any(operation.padding)
            else f"{_PADDINGS[options.padding]} padding"
        ),
    ]


def _grouping_words(graph: LiteRtGraph, operation: Operation) -> list[str]:
    """How channels that are read belong to those that are made, where each is not made of all."""
    kernel = _kernel(graph, operation)
    channels = graph.shape(operation.inputs[0])[-1]
    if operation.code == Operator.CONV_2D and kernel[3] != channels:
        # How many they are, pruning changes, as it does how many channels each has.
        return ["in groups"]
    if operation.code == Operator.DEPTHWISE_CONV_2D and kernel[3] != channels:
        return [f"multiplier {kernel[3] // channels}"]
    return []


def _kernel(graph: LiteRtGraph, operation: Operation) -> tuple[int, ...]:
    """The shape of a convolution's kernel, be it a constant or not."""
    return graph.shape(int(operation.entry.inputs[KERNEL_AT]))


def _times(lengths: Sequence[int]) -> str:
    return "x".join(map(str, lengths))


def _length(graph: LiteRtGraph, tensor: int) -> int:
    return int(np.prod(graph.shape(tensor)))


def is_runnable_alone(operation: Operation) -> bool:
    """Whether an operation can be put into a file of its own: it runs no other part of the file."""
    return operation.code not in _CALLERS and bool(operation.outputs)


_CALLERS: tuple[Any, ...] = (
    Operator.WHILE,
    Operator.IF,
    Operator.CALL_ONCE,
    Operator.VAR_HANDLE,
    Operator.READ_VARIABLE,
    Operator.ASSIGN_VARIABLE,
)
