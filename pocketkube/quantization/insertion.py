"""Builds the model that is quantised: BatchNorm folded into weights, a rounding after each operation.

Rounding stands where LiteRT's integer kernels round: not between a convolution and the BatchNorm or
ReLU that it is computed with, and not after what only moves values.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pocketkube.graph.walk import functional_graph, walk
from pocketkube.quantization.fake_quantize import FakeQuantize

layers = keras.layers
# Makes the layer that rounds a tensor, from the layer's name and the tensor's kind of range.
Rounding = Callable[[str, str], FakeQuantize]


@dataclass(frozen=True)
class Prepared:
    """A model to quantise.

    Attributes:
        model: It computes what the original does while its roundings pass values as they are.
        roundings: Each rounding, and the tensor that it rounds.
        feeding: For each layer of weights whose input is rounded, by its path, what rounds it.
        renamed: For each layer or operation of the original, by its path, the name of the one whose
            output has taken its output's place. A layer that has taken up the BatchNorm after it
            stands for both.
        elementwise: Layers that multiply each channel by one weight: a BatchNorm that no other layer
            could take up, or a Rescaling. By their paths.
    """

    model: keras.Model
    roundings: tuple[tuple[FakeQuantize, Any], ...]
    feeding: Mapping[str, FakeQuantize]
    renamed: Mapping[str, str]
    elementwise: frozenset[str]


@dataclass
class _Call:
    """A call of an operation, and the numbers of the tensors that go in and come out."""

    op: Any
    taken: tuple[int, ...]
    given: tuple[int, ...]


def prepare(model: keras.Model, rounding: Rounding | None) -> Prepared:
    """Builds the model to quantise from a trained one.

    Nested models are opened: their layers bear the path's parts joined by underscores. A separable
    convolution becomes the two that it is made of, an activation inside a layer one of its own, a
    BatchNorm that no layer can take up a depthwise convolution, and so does a Rescaling: LiteRT has
    integer kernels for those.

    Args:
        model: A functional or sequential model; it is left as it is.
        rounding: Makes the layer that rounds activations, from its name and its kind of range:
            "learned" for any, "sigmoid" or "tanh" for what lies in a fixed one. None rounds nothing.

    Returns:
        The model; its weights are the given one's, folded.
    """
    function = functional_graph(model)
    calls, outputs = _calls(function)
    builder = _Builder(calls, outputs, rounding)
    inputs = [
        keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x._keras_history.operation.name)
        for x in function.inputs
    ]
    begun = [builder.round_input(x) for x in inputs]
    ended = walk(function, begun, builder.visit)
    ended = keras.tree.pack_sequence_as(function._outputs_struct, ended)
    given = keras.tree.pack_sequence_as(function._inputs_struct, inputs)
    built = keras.Model(given, ended, name=model.name)
    builder.carry_weights()
    elementwise = frozenset(layer.path for layer in builder.elementwise)
    return Prepared(built, tuple(builder.roundings), builder.feeding, builder.renamed, elementwise)


def _calls(function: Any) -> tuple[list[_Call], list[int]]:
    """All calls in the order of computation, nested models opened, and the outputs' numbers."""
    calls: list[_Call] = []
    count = len(function.inputs)

    def visit(path: str, node: Any, taken: list[Any]) -> list[int]:
        nonlocal count
        given = tuple(range(count, count + len(node.outputs)))
        count += len(node.outputs)
        calls.append(_Call(node.operation, tuple(taken), given))
        return list(given)

    outputs = walk(function, range(count), visit)
    return calls, outputs


class _Builder:
    def __init__(
        self, calls: Sequence[_Call], outputs: Sequence[int], rounding: Rounding | None
    ) -> None:
        self._calls, self._rounding = iter(calls), rounding
        self._maker = {number: call for call in calls for number in call.given}
        self._readers: dict[int, list[_Call]] = {}
        for call in calls:
            for number in call.taken:
                self._readers.setdefault(number, []).append(call)
        self._ends = set(outputs)
        self._uses = Counter(id(call.op) for call in calls)
        self._names: Counter[str] = Counter()
        self._new: dict[int, Any] = {}
        self._carried: list[Callable[[], None]] = []
        self._rounded_by: dict[int, FakeQuantize] = {}
        self.roundings: list[tuple[FakeQuantize, Any]] = []
        self.feeding: dict[str, FakeQuantize] = {}
        self.renamed: dict[str, str] = {}
        self.elementwise: list[Any] = []

    def round_input(self, tensor: Any) -> Any:
        if not str(tensor.dtype).startswith("float"):
            return tensor
        return self._round(tensor, tensor._keras_history.operation.name, "learned")

    def visit(self, path: str, node: Any, taken: list[Any]) -> list[Any]:
        """Computes a call of the original in the new model."""
        call, op = next(self._calls), node.operation
        name = path.replace("/", "_")
        given = [taken[0]] if self._takes_up(call) else self._compute(call, name, node, taken)
        self.renamed[path] = given[0]._keras_history.operation.name
        if (
            len(given) != 1
            or not str(given[0].dtype).startswith("float")
            or self._is_open(call, given[0])
        ):
            return given
        if isinstance(op, ONLY_MOVE) or _name_of(op) in ONLY_MOVE_NAMES:
            self._inherit(taken[0], given[0])
            return given
        if isinstance(op, SAME_RANGE):
            own = self._rounded_by.get(id(taken[0]))
            return [self._reuse(own, given[0])] if own is not None else given
        return [self._round(given[0], name, FIXED.get(_activation_of(op), "learned"))]

    def carry_weights(self) -> None:
        for carry in self._carried:
            carry()

    def _takes_up(self, call: _Call) -> bool:
        """Whether a call is a BatchNorm that the layer before takes up."""
        if not isinstance(call.op, layers.BatchNormalization):
            return False
        maker = self._maker.get(call.taken[0])
        return (
            maker is not None
            and isinstance(maker.op, LINEAR)
            and _activation_of(maker.op) == "linear"
            and self._uses[id(maker.op)] == self._uses[id(call.op)] == 1
            and self._reader(maker) is call
            and call.op.axis in (-1, len(maker.op.output.shape) - 1)
        )

    def _reader(self, call: _Call) -> _Call | None:
        """The one call that reads a call's one output, where that is all that becomes of it."""
        readers = self._readers.get(call.given[0], [])
        alone = len(call.given) == len(readers) == 1 and call.given[0] not in self._ends
        return readers[0] if alone else None

    def _is_open(self, call: _Call, y: Any) -> bool:
        """Whether LiteRT computes the next operation together with this one, which gives `y`."""
        reader = self._reader(call)
        if reader is None:
            return False
        if self._takes_up(reader):
            return True
        combines = isinstance(call.op, (*LINEAR, *SUMS)) or _name_of(call.op) in SUM_NAMES
        # Of what is no image the shape changes in between.
        combines = combines or (isinstance(call.op, ELEMENTWISE) and len(y.shape) == IMAGE_RANK)
        return combines and _activation_of(call.op) == "linear" and _is_relu(reader.op)

    def _compute(self, call: _Call, name: str, node: Any, taken: list[Any]) -> list[Any]:
        op = call.op
        if isinstance(op, layers.SeparableConv1D | layers.SeparableConv2D):
            return [self._separable(call, name, taken[0])]
        if isinstance(op, LINEAR):
            return [self._linear(call, name, op, taken[0])]
        if _is_elementwise(op, taken[0]):
            return [self._scale_and_shift(op, name, taken[0])]
        new = self._new.get(id(op))
        if new is None:
            config = op.get_config()
            new = type(op).from_config(config | ({"name": name} if "name" in config else {}))
            self._new[id(op)] = new
            self._carry(op, new)
        args, kwargs = node.arguments.fill_in(
            dict(zip(map(id, node.input_tensors), taken, strict=True))
        )
        return keras.tree.flatten(new(*args, **kwargs))

    def _linear(self, call: _Call, name: str, op: Any, x: Any) -> Any:
        """A layer of weights with the BatchNorm that follows it, and its activation as one apart."""
        reader = self._reader(call)
        norm = reader.op if reader is not None and self._takes_up(reader) else None
        new = self._new.get(id(op))
        if new is None:
            config = op.get_config() | {"name": name, "activation": "linear"}
            config |= {"use_bias": True} if norm is not None else {}
            new = self._new[id(op)] = type(op).from_config(config)
            self._carried.append(lambda: _fold(new, op, norm))
        return self._activated(op, name, self._fed(new, x))

    def _activated(self, op: Any, name: str, y: Any) -> Any:
        activation = _activation_of(op)
        if activation == "linear":
            return y
        if activation not in RELUS:
            y = self._round(y, f"{name}_linear", "learned")
        return layers.Activation(op.activation, name=self._unique(f"{name}_activation"))(y)

    def _separable(self, call: _Call, name: str, x: Any) -> Any:
        op = call.op
        first, second = _parts(op, name)
        reader = self._reader(call)
        norm = reader.op if reader is not None and self._takes_up(reader) else None
        middle = self._round(self._fed(first, x), f"{name}_depthwise", "learned")
        y = self._activated(op, name, self._fed(second, middle))

        def carry() -> None:
            first.kernel.assign(op.depthwise_kernel)
            _set_folded(second, np.asarray(op.pointwise_kernel), _bias(op), (-1,), norm)

        self._carried.append(carry)
        return y

    def _scale_and_shift(self, op: Any, name: str, x: Any) -> Any:
        channels = x.shape[-1]
        is_image = len(x.shape) == IMAGE_RANK
        image = x if is_image else layers.Reshape((-1, 1, channels), name=self._unique(f"{name}_in"))(x)
        self._inherit(x, image)
        if id(op) not in self._new:
            new = self._new[id(op)] = layers.DepthwiseConv2D(1, name=name)
            new.build(image.shape)
            new.trainable = op.trainable and bool(op.trainable_weights)
            self.elementwise.append(new)
            self._carried.append(lambda: _set_affine(new, *_affine(op, channels)))
        y = self._fed(self._new[id(op)], image)
        return y if is_image else layers.Reshape(x.shape[1:], name=self._unique(f"{name}_out"))(y)

    def _fed(self, layer: Any, x: Any) -> Any:
        y = layer(x)
        if id(x) in self._rounded_by:
            self.feeding[layer.path] = self._rounded_by[id(x)]
        return y

    def _carry(self, old: Any, new: Any) -> None:
        if not isinstance(old, keras.layers.Layer):
            return

        def carry() -> None:
            for now, was in zip(new.variables, old.variables, strict=True):
                now.assign(was)

        self._carried.append(carry)

    def _round(self, tensor: Any, name: str, kind: str) -> Any:
        if self._rounding is None:
            return tensor
        layer = self._rounding(self._unique(f"{name}_quantized"), kind)
        self.roundings.append((layer, tensor))
        return self._reuse(layer, tensor)

    def _reuse(self, layer: FakeQuantize, tensor: Any) -> Any:
        given = layer(tensor)
        self._rounded_by[id(given)] = layer
        return given

    def _unique(self, name: str) -> str:
        """The name, numbered where a shared layer is called again."""
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}_{self._names[name]}"

    def _inherit(self, source: Any, target: Any) -> None:
        if id(source) in self._rounded_by:
            self._rounded_by[id(target)] = self._rounded_by[id(source)]


def _fold(new: Any, old: Any, norm: Any) -> None:
    kernel = np.asarray(old.kernel)
    axes = (-2, -1) if isinstance(old, DEPTHWISE) else (-2,) if isinstance(old, TRANSPOSED) else (-1,)
    if norm is None:
        new.kernel.assign(kernel)
        if new.bias is not None:
            new.bias.assign(old.bias)
        return
    _set_folded(new, kernel, _bias(old), axes, norm)


def _set_folded(
    new: Any, kernel: np.ndarray, bias: np.ndarray, axes: tuple[int, ...], norm: Any
) -> None:
    """`gamma (W x + b - mean) / sqrt(variance + epsilon) + beta` as one kernel and one bias."""
    factor, shift = _affine(norm, len(bias)) if norm is not None else (np.ones_like(bias), 0.0)
    shape = [1] * kernel.ndim
    for axis in axes:
        shape[axis] = kernel.shape[axis]
    new.kernel.assign(kernel * factor.reshape(shape))
    new.bias.assign(bias * factor + shift)


def _set_affine(new: Any, factor: np.ndarray, shift: np.ndarray) -> None:
    new.kernel.assign(factor.reshape(new.kernel.shape))
    new.bias.assign(shift)


def _is_elementwise(op: Any, x: Any) -> bool:
    """Whether a layer multiplies each channel by a number of its own and adds another."""
    if not isinstance(op, ELEMENTWISE) or not str(x.dtype).startswith("float"):
        return False
    by_channel = getattr(op, "axis", -1) in (-1, len(x.shape) - 1)
    return by_channel and (len(x.shape) == IMAGE_RANK or None not in x.shape[1:])


def _affine(op: Any, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """What a BatchNorm or a Rescaling multiplies each channel by, and what it adds."""
    if isinstance(op, layers.Rescaling):
        return np.broadcast_to(op.scale, channels), np.broadcast_to(op.offset, channels)
    gamma = np.asarray(op.gamma) if op.scale else np.ones(channels, np.float32)
    beta = np.asarray(op.beta) if op.center else np.zeros(channels, np.float32)
    factor = gamma / np.sqrt(np.asarray(op.moving_variance) + op.epsilon)
    return factor, beta - np.asarray(op.moving_mean) * factor


def _bias(layer: Any) -> np.ndarray:
    if layer.use_bias:
        return np.asarray(layer.bias)
    if isinstance(layer, TRANSPOSED):
        return np.zeros(layer.kernel.shape[-2], np.float32)
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        return np.zeros(layer.filters, np.float32)
    axes = (-2, -1) if isinstance(layer, DEPTHWISE) else (-1,)
    return np.zeros(int(np.prod([layer.kernel.shape[axis] for axis in axes])), np.float32)


def _parts(op: Any, name: str) -> tuple[Any, Any]:
    """The depthwise and the pointwise convolution of a separable one."""
    one = isinstance(op, layers.SeparableConv1D)
    depthwise, pointwise = (
        (layers.DepthwiseConv1D, layers.Conv1D) if one else (layers.DepthwiseConv2D, layers.Conv2D)
    )
    first = depthwise(
        op.kernel_size,
        strides=op.strides,
        padding=op.padding,
        depth_multiplier=op.depth_multiplier,
        dilation_rate=op.dilation_rate,
        use_bias=False,
        name=f"{name}_depthwise",
    )
    second = pointwise(op.filters, 1, name=f"{name}_pointwise")
    return first, second


def _name_of(op: Any) -> str:
    return type(op).__name__


def _activation_of(op: Any) -> str:
    """The name of what a layer applies at its end; "linear" for nothing."""
    activation = getattr(op, "activation", None)
    if activation is None:
        name = _name_of(op).lower()
        return name if name in FIXED else "linear"
    return str(getattr(activation, "__name__", type(activation).__name__)).lower()


def _is_relu(op: Any) -> bool:
    if isinstance(op, layers.ReLU):
        return op.max_value in (None, 6) and not op.negative_slope and not op.threshold
    if isinstance(op, layers.Activation):
        return _activation_of(op) in RELUS
    return _name_of(op) in ("Relu", "Relu6")


RELUS = ("relu", "relu6")
# What lies in a range that LiteRT fixes.
FIXED = {"softmax": "sigmoid", "sigmoid": "sigmoid", "tanh": "tanh"}
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
LINEAR = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    *DEPTHWISE,
    *TRANSPOSED,
)
ELEMENTWISE = (layers.BatchNormalization, layers.Rescaling)
IMAGE_RANK = 4
SUMS = (layers.Add, layers.Subtract)
SUM_NAMES = ("Add", "Subtract")
ONLY_MOVE = (
    layers.Flatten,
    layers.Reshape,
    layers.Permute,
    layers.RepeatVector,
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
)
ONLY_MOVE_NAMES = ("Reshape", "Transpose", "Squeeze", "ExpandDims", "GetItem", "Pad", "Identity")
SAME_RANGE = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.UpSampling1D,
    layers.UpSampling2D,
)
