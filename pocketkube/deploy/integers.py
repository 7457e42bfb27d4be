"""Puts a model's own whole numbers and scales into a LiteRT file, instead of the converter's.

The converter chooses scales by the largest weight, and knows 8 bits only; a model that was trained on
levels has scales of its own, and 4 bits or fewer fit into half the bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pocketkube.errors import UserError
from pocketkube.litert.flatbuffer import code_of, data_of, is_constant, read_model, write_model

Operator = schema.BuiltinOperator
Number = schema.TensorType
# The operations that LiteRT computes with four-bit weights, and the inputs that they then take.
IN_FOUR_BITS = {
    Operator.CONV_2D: (Number.INT8, Number.FLOAT32),
    Operator.DEPTHWISE_CONV_2D: (Number.INT8,),
    Operator.FULLY_CONNECTED: (Number.INT8, Number.FLOAT32),
}
# All that multiply by a constant kernel, and the place of the bias among their inputs.
BIAS_AT = {**dict.fromkeys(IN_FOUR_BITS, 2), Operator.TRANSPOSE_CONV: 3}
KERNEL_AT = 1
FOUR_BITS = 4
LARGEST_INT32 = 2**31 - 1
# A little more than the converter's least range, from -1e-6 to 1e-6, over the steps of 8 bits.
_DEAD_SCALE = 8e-9
_ROOM = 2.0**-8


@dataclass(frozen=True)
class IntegerKernel:
    """A kernel as whole numbers.

    Attributes:
        integers: In the shape of the kernel.
        scales: What a 1 stands for, for each output channel `[channels]`.
        channel_axes: The kernel's axes that count output channels.
        bits: Bits that hold every integer.
    """

    integers: np.ndarray
    scales: np.ndarray
    channel_axes: tuple[int, ...]
    bits: int

    def laid_out(self) -> np.ndarray:
        """The integers in LiteRT's order: channels first, but last where each has its own input."""
        axes = [axis % self.integers.ndim for axis in self.channel_axes]
        if len(axes) > 1:
            return self.integers.reshape(1, *self.integers.shape[: axes[0]], -1)
        return np.moveaxis(self.integers, axes[0], 0)

    @property
    def axis(self) -> int:
        """The axis of channels once laid out."""
        return -1 if len(self.channel_axes) > 1 else 0


def put_integers(content: bytes, kernels: Sequence[IntegerKernel]) -> bytes:
    """Replaces the 8-bit kernels of a file by the model's own.

    A file's kernel is recognised by its shape and values. Biases of 32 bits are rounded anew, for
    their scale is that of the input times the kernel's. Kernels of at most 4 bits are stored in 4
    where LiteRT computes with such.

    Args:
        content: A LiteRT file, integers throughout or in its weights alone.
        kernels: The model's kernels.

    Returns:
        The file.
    """
    model = read_model(content)
    for graph in model.subgraphs:
        done: set[int] = set()
        for code, operator in _operators(model, graph):
            number = int(operator.inputs[KERNEL_AT])
            tensor = graph.tensors[number]
            if number not in done and tensor.type == Number.INT8 and is_constant(model, tensor):
                found = _nearest(model, tensor, kernels)
                if found is None:
                    continue
                packed = found.bits <= FOUR_BITS and _all_in_four(model, graph, number)
                _replace(model, tensor, found, packed)
                done.add(number)
            if number in done:
                _rescale_bias(model, graph, operator, BIAS_AT[code])
    _drop_unused(model)
    return write_model(model, len(content))


def with_room(content: bytes) -> bytes:
    """Gives integers that were 0 on all calibration examples a range, which LiteRT's kernels need.

    What a layer gives that died, as pruning may leave one, has the range from 0 to 0. The converter
    makes steps of 8e-9 of it, by which XNNPACK refuses the file. Zero is zero in any steps.

    Args:
        content: A LiteRT file of integers.

    Returns:
        The file; as it is where nothing is dead.
    """
    model = read_model(content)
    any_dead = False
    for graph in model.subgraphs:
        dead = set()
        for number, tensor in enumerate(graph.tensors):
            scales = getattr(tensor.quantization, "scale", None)
            is_integer = tensor.type == Number.INT8 and not is_constant(model, tensor)
            if is_integer and scales is not None and len(scales) == 1 and scales[0] < _DEAD_SCALE:
                tensor.quantization.scale = [_ROOM]
                dead.add(number)
        for code, operator in _operators(model, graph):
            if dead & set(map(int, operator.inputs)):
                _rescale_bias(model, graph, operator, BIAS_AT[code])
        any_dead = any_dead or bool(dead)
    if not any_dead:
        return content
    _drop_unused(model)
    return write_model(model, len(content))


def _operators(model: Any, graph: Any) -> Iterator[tuple[int, Any]]:
    for operator in graph.operators:
        code = code_of(model, operator)
        if code in BIAS_AT:
            yield code, operator


def _all_in_four(model: Any, graph: Any, number: int) -> bool:
    """Whether all that read a kernel can do so in 4 bits."""
    readers = [
        (code_of(model, operator), graph.tensors[operator.inputs[0]].type)
        for operator in graph.operators
        if number in operator.inputs
    ]
    return all(taken in IN_FOUR_BITS.get(code, ()) for code, taken in readers)


def _bytes_of(model: Any, tensor: Any) -> bytes:
    return data_of(model, tensor).tobytes()


def _nearest(model: Any, tensor: Any, kernels: Sequence[IntegerKernel]) -> IntegerKernel | None:
    """The kernel that a tensor was rounded from."""
    shape = tuple(int(size) for size in tensor.shape)
    integers = np.frombuffer(_bytes_of(model, tensor), np.int8).reshape(shape)
    step = np.asarray(tensor.quantization.scale, np.float32)
    spread = [1] * len(shape)
    spread[tensor.quantization.quantizedDimension] = -1
    values = integers * (step.reshape(spread) if len(step) > 1 else step)
    best, least = None, float(step.max())
    for kernel in kernels:
        laid_out = kernel.laid_out()
        if laid_out.size != integers.size or laid_out.shape[kernel.axis] != shape[kernel.axis]:
            continue
        across = [1] * laid_out.ndim
        across[kernel.axis] = -1
        wanted = (laid_out * kernel.scales.reshape(across)).reshape(shape)
        error = float(np.abs(wanted - values).max())
        if error < least:
            best, least = kernel, error
    return best


def _replace(model: Any, tensor: Any, kernel: IntegerKernel, packed: bool) -> None:
    integers = kernel.laid_out().astype(np.int8).ravel()
    if packed:
        tensor.type = Number.INT4
        nibbles = np.append(integers, np.zeros(len(integers) % 2, np.int8)).view(np.uint8) & 15
        data = nibbles[0::2] | nibbles[1::2] << 4
    else:
        data = integers.view(np.uint8)
    tensor.quantization.scale = [float(scale) for scale in kernel.scales]
    tensor.quantization.zeroPoint = [0] * len(kernel.scales)
    tensor.quantization.quantizedDimension = kernel.axis % len(tensor.shape)
    tensor.quantization.min = tensor.quantization.max = None
    tensor.buffer = _new_buffer(model, data)


def _rescale_bias(model: Any, graph: Any, operator: Any, place: int) -> None:
    if len(operator.inputs) <= place or operator.inputs[place] < 0:
        return
    bias = graph.tensors[operator.inputs[place]]
    if bias.type != Number.INT32:
        return
    code = code_of(model, operator)
    inputs = operator.inputs[2 if code == Operator.TRANSPOSE_CONV else 0]
    kernel = graph.tensors[operator.inputs[KERNEL_AT]]
    was = np.asarray(bias.quantization.scale, np.float64)
    scale = float(graph.tensors[inputs].quantization.scale[0])
    now = scale * np.asarray(kernel.quantization.scale, np.float64)
    steps = np.rint(np.frombuffer(_bytes_of(model, bias), np.int32) * was / now)
    if np.abs(steps).max() > LARGEST_INT32:
        raise UserError(
            f"The biases of {kernel.name.decode()} take more than 32 bits in steps of its input times "
            "its weights; use quantize_int8 in the place of quantize_weights."
        )
    bias.quantization.scale = [float(one) for one in now]
    bias.quantization.zeroPoint = [0] * len(now)
    bias.buffer = _new_buffer(model, steps.astype(np.int32).view(np.uint8))


def _new_buffer(model: Any, data: np.ndarray) -> int:
    """A buffer of its own: the converter lets tensors of equal bytes share one."""
    buffer = schema.BufferT()
    buffer.data = data
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _drop_unused(model: Any) -> None:
    """Empties buffers that nothing reads any more; their numbers stay."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or ()}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
