"""Builds the model that is quantised: BatchNorm folded into weights, a rounding after each operation.

Rounding stands where LiteRT's integer kernels round: not between a convolution and the BatchNorm or
ReLU that it is computed with, and not after what only moves values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pocketkube.errors import UserError
from pocketkube.graph.kernels import KERNELS
from pocketkube.graph.kinds import computes_as, is_one_of, name_of
from pocketkube.graph.layer_rules import known_as
from pocketkube.graph.names import named_layers
from pocketkube.graph.paths import beside, is_within, unique
from pocketkube.graph.rebuild import Rebuilder
from pocketkube.graph.sharing import (
    LayerMaker,
    compute_from_variables,
    paired_variables,
)
from pocketkube.graph.unwrapping import unwrapped
from pocketkube.graph.walk import filled_in, functional_graph
from pocketkube.keras_private import calls_of, mask_of
from pocketkube.quantization.activations import FIXED, RELUS, activation_of, is_relu
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.folding import (
    DEPTHWISE,
    TRANSPOSED,
    added_bias,
    affine,
    fold,
    parts_of_separable,
    set_affine,
    set_folded,
)
from pocketkube.quantization.operation_ranges import (
    computes_in_floats,
    joins,
    keeps_range,
    moves,
    only_moves,
)
from pocketkube.quantization.tensor_uses import CallOfTensors, TensorUses

layers = keras.layers
# Makes the layer that rounds a tensor, from the layer's name and the tensor's kind of range.
Rounding = Callable[[str, str], FakeQuantize]


@dataclass(frozen=True)
class Prepared:
    """A model to quantise.

    Attributes:
        model: It computes what the original does while its roundings pass values as they are.
        roundings: What rounds its activations.
        input_quantizers: For layers of weights whose input is rounded, by their ids, the layer that
            rounds it.
        renamed: For each layer or operation of the original, by its path, the path of the one whose
            output has taken its output's place: its own, but for one that was folded into another, or
            that gives its activation to a layer of its own.
        folded: For each BatchNorm that another layer has taken up, by its path, the path of that one.
        taken_up: The BatchNorms that are folded into layers, by these layers' ids.
        norms: How many BatchNorms are folded, or are a layer that multiplies each channel.
        elementwise: Layers that multiply each channel by one weight: a BatchNorm that no other layer
            could take up, or a Rescaling. By their paths.
        closed: Layers with layers of their own inside, whose activations are not rounded. By their
            paths.
    """

    model: keras.Model
    roundings: tuple[FakeQuantize, ...]
    input_quantizers: Mapping[int, FakeQuantize]
    renamed: Mapping[str, str]
    folded: Mapping[str, str]
    taken_up: Mapping[int, keras.layers.BatchNormalization]
    norms: int
    elementwise: frozenset[str]
    closed: tuple[str, ...]


def prepare(model: keras.Model, rounding: Rounding | None) -> Prepared:
    """Builds the model to quantise from a trained one.

    Layers keep their names, and nested models stay nested. A layer that becomes two, as a separable
    convolution, or that was in a wrapper, becomes a nested model of its name. An activation inside a
    layer becomes one of its own, a BatchNorm that no layer can take up a depthwise convolution, and so
    does a Rescaling: LiteRT has integer kernels for those. Of masked steps both stay as they are.

    Where there are several outputs they keep their names, too: what gives one and is followed by a
    layer that rounds it, or by its activation, becomes a nested model of its name with both inside. One
    that is called several times, shares its weights or reads masked steps stays as it is, and its
    outputs are called after what follows it.

    Args:
        model: A functional or sequential model; it is left as it is.
        rounding: Makes the layer that rounds activations, from its name and its kind of range:
            "learned" for any, "sigmoid" or "tanh" for what lies in a fixed one. None rounds nothing.

    Returns:
        The model; its weights are those of `model`, BatchNorm folded into them.
    """
    opened = unwrapped(model)
    builder = _QuantizableBuilder(TensorUses(functional_graph(opened)), rounding)
    built = builder.rebuild(opened)
    builder.carry_weights()
    # An input that nothing reads, or that is given back as it is, goes through no layer.
    reached = {id(layer) for _, layer in named_layers(built)}
    return Prepared(
        built,
        tuple(each for each in builder.roundings if id(each) in reached),
        builder.input_quantizers,
        builder.renamed,
        builder.folded,
        builder.taken_up,
        builder.norms,
        frozenset(builder.elementwise),
        tuple(builder.closed),
    )


class _QuantizableBuilder(Rebuilder):
    def __init__(self, graph: TensorUses, rounding: Rounding | None) -> None:
        super().__init__()
        self._graph, self._rounding = graph, rounding
        self._names = set(graph.ops)
        self._maker = LayerMaker(graph.ops)
        self._new: dict[int, Any] = {}
        # By the ids of layers, and channels of what they scale.
        self._scaling: dict[tuple[int, int], Any] = {}
        self._carried: list[Callable[[], None]] = []
        # Of tensors of the new model, by their ids.
        self._paths: dict[int, str] = {}
        self._rounded_by: dict[int, FakeQuantize] = {}
        self._from_elsewhere: set[int] = set()
        # What LiteRT computes in floats, by the ids of what it is rounded to.
        self._in_floats: dict[int, Any] = {}
        self.roundings: list[FakeQuantize] = []
        self.input_quantizers: dict[int, FakeQuantize] = {}
        self.renamed: dict[str, str] = {}
        self.folded: dict[str, str] = {}
        self.taken_up: dict[int, keras.layers.BatchNormalization] = {}
        self.norms = 0
        self.elementwise: list[str] = []
        self.closed: list[str] = []

    def begin(self, name: str, tensor: Any) -> Any:
        """See `Rebuilder`."""
        if not str(tensor.dtype).startswith("float"):
            return tensor
        return self._round(tensor, name, "learned")

    def pass_on(self, source: Any, target: Any) -> None:
        """See `Rebuilder`."""
        self._inherit(source, target)
        self._from_elsewhere.add(id(target))
        if id(source) in self._paths:
            self._paths[id(target)] = self._paths[id(source)]

    def rebuilt(self, model: keras.Model, new: keras.Model) -> None:
        """See `Rebuilder`."""
        self._maker.made(model, new)

    def compute(self, path: str, node: Any, inputs: list[Any]) -> list[Any]:
        """Computes a call of the original in the new model."""
        if self._gives_named_output(path, node) and self._is_followed(node):
            return self._enclosed(path, node, inputs)
        return self._rounded_call(path, node, inputs)

    def _gives_named_output(self, path: str, node: Any) -> bool:
        """Whether a call gives one of several outputs, and a nested model can stand in its place."""
        call, op = self._graph.call(node), node.operation
        return (
            "/" not in path
            and self._graph.has_several_outputs
            and self._graph.gives_output(call)
            and not self._graph.is_shared(op)
            and id(op) not in self._graph.tied
            # Keras warns of a nested model that reads what is masked.
            and all(mask_of(x) is None for x in node.input_tensors)
        )

    def _is_followed(self, node: Any) -> bool:
        """Whether a layer is put behind a call, after which its output would be called."""
        call, op, x = self._graph.call(node), node.operation, node.input_tensors[0]
        if not any(str(y.dtype).startswith("float") for y in node.outputs):
            return False
        if self._takes_up(call) or (self._rounding is not None and not only_moves(node)):
            return True
        if is_one_of(op, ELEMENTWISE):
            return _is_elementwise(op, x) and len(x.shape) != IMAGE_RANK
        is_separable = is_one_of(op, (layers.SeparableConv1D, layers.SeparableConv2D))
        return is_one_of(op, LINEAR) and not is_separable and activation_of(op) != "linear"

    def _enclosed(self, path: str, node: Any, inputs: list[Any]) -> list[Any]:
        """A call, and what is put behind it, as a nested model of its name."""
        outer = {id(x): value for x, value in zip(node.input_tensors, inputs, strict=True)}
        inner = {
            key: keras.Input(batch_shape=x.shape, dtype=x.dtype, sparse=x.sparse)
            for key, x in outer.items()
        }
        for key, x in outer.items():
            self.pass_on(x, inner[key])
        within = f"{path}/{node.operation.name}"
        entered = [inner[id(x)] for x in node.input_tensors]
        ended = self._rounded_call(within, node, entered)
        if ended[0] is entered[0]:
            ended = [self._placed(layers.Identity, f"{path}/folded", ended[0])]
        for found in (self.renamed, self.folded):
            if within in found:
                found[path] = found.pop(within)
        begun, taken = list(inner.values()), list(outer.values())
        one = len(begun) == 1
        model = keras.Model(
            begun[0] if one else begun,
            ended[0] if len(ended) == 1 else ended,
            name=node.operation.name,
        )
        outputs: list[Any] = keras.tree.flatten(model(taken[0] if one else taken))
        for inside, y in zip(ended, outputs, strict=True):
            self.pass_on(inside, y)
        return outputs

    def _rounded_call(self, path: str, node: Any, levels: list[Any]) -> list[Any]:
        call, op = self._graph.call(node), node.operation
        # What LiteRT computes in floats is joined as it is, and moved so to where it is joined.
        is_joined = self._joins(call)
        inputs = [self._in_floats.get(id(x), x) for x in levels] if is_joined else levels
        if self._takes_up(call):
            outputs = [inputs[0]]
            self.folded[path] = self._paths[id(inputs[0])]
        else:
            outputs = self._computed(call, path, node, inputs)
        self.renamed[path] = self._paths[id(outputs[0])]
        if len(outputs) > 1:
            return self._rounded_outputs(call, path, node, levels, outputs)
        if not str(outputs[0].dtype).startswith("float") or self._is_open(call, outputs[0]):
            return outputs
        if only_moves(node):
            return [self._moved(call, path, levels[0], outputs[0])]
        if keeps_range(op):
            return [self._round_alike(inputs[0], outputs[0], path)]
        fixed = FIXED.get(activation_of(op), "learned")
        # A GRU passes on parts of the state that it began with, which may be of any size.
        if is_one_of(op, layers.GRU) and len(inputs) > 1:
            fixed = "learned"
        rounded = self._round(outputs[0], path, fixed)
        if computes_in_floats(op):
            self._in_floats[id(rounded)] = outputs[0]
        return [rounded]

    def _rounded_outputs(
        self, call: CallOfTensors, path: str, node: Any, inputs: list[Any], outputs: list[Any]
    ) -> list[Any]:
        """Several outputs of a call, as a recurrent layer's steps and states, each rounded if used."""
        if only_moves(node):
            return [self._moved(call, path, inputs[0], y) for y in outputs]
        found = []
        for number, y in zip(call.outputs, outputs, strict=True):
            is_rounded = (
                str(y.dtype).startswith("float")
                and self._graph.is_used(number)
                and not _are_closed(self._graph.readers_of(number))
                and not self._is_joined(number)
            )
            # Each has a range of its own: an LSTM's second state may be of any size.
            found.append(self._round(y, path, "learned") if is_rounded else y)
        return found

    def _moved(self, call: CallOfTensors, path: str, source: Any, moved: Any) -> Any:
        """What moving gives, rounded as `source` is: behind it, where floats are moved to a join."""
        if id(source) not in self._in_floats or not self._joins(call):
            self._inherit(source, moved)
            return moved
        rounded = self._round_alike(source, moved, path)
        self._in_floats[id(rounded)] = moved
        return rounded

    def _is_joined(self, number: int) -> bool:
        """Whether a tensor is concatenated: the converter brings a loop's states to no common range."""
        return any(map(self._joins, self._graph.readers_of(number)))

    def _joins(self, call: CallOfTensors) -> bool:
        """Whether a call concatenates what it takes, or moves it to where that is concatenated."""
        return joins(call.op) or (moves(call.op) and any(map(self._is_joined, call.outputs)))

    def carry_weights(self) -> None:
        self._maker.share()
        for carry in self._carried:
            carry()

    def _takes_up(self, call: CallOfTensors) -> bool:
        """Whether a call is a BatchNorm that the layer before takes up."""
        if not is_one_of(call.op, layers.BatchNormalization):
            return False
        maker = self._graph.maker(call.inputs[0])
        return (
            maker is not None
            and is_one_of(maker.op, LINEAR)
            and activation_of(maker.op) == "linear"
            and not any(self._graph.is_shared(op) for op in (maker.op, call.op))
            and not {id(maker.op), id(call.op)} & self._graph.tied
            and self._graph.reader(maker) is call
            and call.op.axis in (-1, maker.rank - 1)
            and getattr(maker.op, "data_format", "channels_last") == "channels_last"
        )

    def _is_open(self, call: CallOfTensors, y: Any) -> bool:
        """Whether no integer kernel gives `y`: LiteRT computes it with the next one, or in floats."""
        if _are_closed(self._graph.readers(call)):
            return True
        reader = self._graph.reader(call)
        if reader is None:
            return False
        if self._takes_up(reader):
            return True
        combines = is_one_of(call.op, (*LINEAR, *SUMS)) or name_of(call.op) in SUM_NAMES
        # Of what is no image the shape changes in between.
        combines = combines or (is_one_of(call.op, ELEMENTWISE) and len(y.shape) == IMAGE_RANK)
        return combines and activation_of(call.op) == "linear" and is_relu(reader.op)

    def _computed(self, call: CallOfTensors, path: str, node: Any, inputs: list[Any]) -> list[Any]:
        op = call.op
        if is_one_of(op, layers.Masking) and op.mask_value and id(inputs[0]) in self._rounded_by:
            raise UserError(
                f"{path} masks the value {op.mask_value:g}, which is no level of what it reads once "
                "that is quantized: pad with 0 and mask that, or leave activations as they are "
                "(activation_bits: float)."
            )
        # Others read the weights that they share in ways that nobody knows: those stay as they are.
        if id(op) not in self._graph.tied:
            if is_one_of(op, (layers.SeparableConv1D, layers.SeparableConv2D)):
                return [self._separable(call, path, inputs[0])]
            if is_one_of(op, LINEAR):
                return [self._linear(call, path, op, inputs[0])]
            if _is_elementwise(op, inputs[0]):
                return [self._scale_and_shift(op, path, inputs[0])]
        if name_of(op) == "Stack" and self._can_concatenate(path, node, inputs):
            return [self._stacked(op.axis, path, inputs)]
        if id(op) not in self._new:
            self._new[id(op)] = new = self._maker.make(op)
            self._carried.append(lambda: _carry(op, new))
            if _is_closed(op):
                self.closed.append(path)
        args, kwargs = self._maker.arguments(*filled_in(node, inputs))
        outputs = keras.tree.flatten(self._new[id(op)](*args, **kwargs))
        self._paths[id(outputs[0])] = beside(path, self._new[id(op)].name)
        return outputs

    def _can_concatenate(self, path: str, node: Any, inputs: list[Any]) -> bool:
        """Whether layers can give what stacking does: not of constants, masks or along the batch."""
        axis, y = node.operation.axis, node.outputs[0]
        return (
            self._rounding is not None
            and not any(is_within(path, held) for held in self._graph.held)
            and axis % len(y.shape) != 0
            and y.shape[axis] == len(inputs)
            and None not in y.shape[1:]
            and str(y.dtype).startswith("float")
            and all(x.dtype == y.dtype and mask_of(x) is None for x in inputs)
        )

    def _stacked(self, axis: int, path: str, inputs: list[Any]) -> Any:
        """Stacking as concatenation: of the former the converter gives all the range of the first."""
        axis %= len(inputs[0].shape) + 1
        shape = inputs[0].shape
        rows = [
            self._placed(layers.Reshape, f"{path}_in", x, (*shape[1:axis], 1, *shape[axis:]))
            for x in inputs
        ]
        name = self._unique(path)
        y = layers.Concatenate(axis, name=name, dtype=inputs[0].dtype)(rows)
        self._paths[id(y)] = beside(path, name)
        return y

    def _linear(self, call: CallOfTensors, path: str, op: Any, x: Any) -> Any:
        """A layer of weights with the BatchNorm that follows it, and its activation as one apart."""
        norm = self._norm_after(call)
        new = self._new.get(id(op))
        if new is None:
            # A user's class may not take all that its parent's config has.
            kind: Any = computes_as(op)
            config = kind.get_config(op) | {"activation": "linear"}
            if activation_of(op) != "linear":
                # It is of what the activation gives, which is a layer apart now.
                config |= {"activity_regularizer": None}
            if norm is not None:
                # The folded kernel has another scale than the one that a constraint is of.
                constraints = [key for key in config if key.endswith("_constraint")]
                config |= {"use_bias": True, **dict.fromkeys(constraints)}
            new = self._new[id(op)] = kind.from_config(config)
            self._take_up(new, norm)
            self._carried.append(lambda: fold(new, op, norm))
        return self._activated(op, path, self._applied(new, x, path))

    def _norm_after(self, call: CallOfTensors) -> Any:
        """The BatchNorm that a layer takes up, or None."""
        reader = self._graph.reader(call)
        return reader.op if reader is not None and self._takes_up(reader) else None

    def _take_up(self, new: Any, norm: Any) -> None:
        if norm is not None:
            self.taken_up[id(new)] = norm
            self.norms += 1

    def _activated(self, op: Any, path: str, y: Any) -> Any:
        activation = activation_of(op)
        if activation == "linear":
            return y
        if activation not in RELUS:
            y = self._round(y, f"{path}_linear", "learned")
        regularizer = op.activity_regularizer
        return self._placed(
            layers.Activation, f"{path}_activation", y, op.activation, activity_regularizer=regularizer
        )

    def _separable(self, call: CallOfTensors, path: str, x: Any) -> Any:
        op = call.op
        if id(op) not in self._new:
            norm = self._norm_after(call)
            first, second = parts_of_separable(op, folded=norm is not None)
            self._take_up(second, norm)
            inputs = keras.Input(batch_shape=_shape_of_all_calls(op, x), dtype=x.dtype)
            self._inherit(x, inputs)
            middle = self._applied(first, inputs, f"{path}/{first.name}")
            middle = self._round(middle, f"{path}/{first.name}", "learned")
            ended = self._applied(second, middle, f"{path}/{second.name}")
            ended = self._activated(op, f"{path}/{second.name}", ended)
            self._new[id(op)] = keras.Model(inputs, ended, name=op.name), ended

            def carry() -> None:
                first.kernel.assign(op.depthwise_kernel)
                set_folded(second, np.asarray(op.pointwise_kernel), added_bias(op), (-1,), norm)

            self._carried.append(carry)
        both, ended = self._new[id(op)]
        y = both(x)
        self._paths[id(y)] = self._paths[id(ended)]
        return y

    def _scale_and_shift(self, op: Any, path: str, x: Any) -> Any:
        channels = x.shape[-1]
        is_image = len(x.shape) == IMAGE_RANK
        image = x if is_image else self._placed(layers.Reshape, f"{path}_in", x, (-1, 1, channels))
        self._inherit(x, image)
        # A Rescaling may be of several inputs, which have channels of their own.
        key = id(op), channels
        if key not in self._scaling:
            is_first = not any(same == id(op) for same, _ in self._scaling)
            new = self._scaling[key] = layers.DepthwiseConv2D(
                1,
                name=op.name if is_first else self._unique(path),
                dtype=op.dtype_policy,
                trainable=op.trainable and bool(op.trainable_weights),
                activity_regularizer=op.activity_regularizer,
            )
            self.elementwise.append(beside(path, new.name))
            self.norms += isinstance(op, layers.BatchNormalization)
            self._carried.append(lambda: set_affine(new, *affine(op, channels)))
        new = self._scaling[key]
        y = self._applied(new, image, beside(path, new.name))
        return y if is_image else self._placed(layers.Reshape, f"{path}_out", y, x.shape[1:])

    def _applied(self, layer: Any, x: Any, path: str) -> Any:
        y = layer(x)
        self._paths[id(y)] = path
        if id(x) in self._rounded_by:
            self.input_quantizers[id(layer)] = self._rounded_by[id(x)]
        return y

    def _placed(self, kind: type, path: str, x: Any, *settings: Any, **more: Any) -> Any:
        """What a new layer of a kind gives."""
        name = self._unique(path)
        y = kind(*settings, name=name, dtype=x.dtype, **more)(x)
        self._paths[id(y)] = beside(path, name)
        return y

    def _round(self, tensor: Any, path: str, kind: str) -> Any:
        if self._rounding is None or any(is_within(path, held) for held in self._graph.held):
            return tensor
        layer = self._rounding(self._unique(f"{path}_quantized"), kind)
        self.roundings.append(layer)
        return self._rounded(layer, tensor)

    def _round_alike(self, source: Any, tensor: Any, path: str) -> Any:
        """Rounds a tensor as another one is; where that differs from call to call, not at all."""
        layer = self._rounded_by.get(id(source))
        if layer is None:
            return tensor
        if id(source) in self._from_elsewhere:
            layer = layer.twin(self._unique(f"{path}_quantized"), tensor.shape)
        return self._rounded(layer, tensor)

    def _rounded(self, layer: FakeQuantize, tensor: Any) -> Any:
        outputs = layer(tensor)
        self._rounded_by[id(outputs)] = layer
        if id(tensor) in self._paths:
            self._paths[id(outputs)] = self._paths[id(tensor)]
        return outputs

    def _unique(self, path: str) -> str:
        """The name at the end of a path, numbered where another layer has it."""
        found = unique(path, self._names)
        self._names.add(found)
        return found.rpartition("/")[2]

    def _inherit(self, source: Any, target: Any) -> None:
        if id(source) in self._rounded_by:
            self._rounded_by[id(target)] = self._rounded_by[id(source)]
        if id(source) in self._from_elsewhere:
            self._from_elsewhere.add(id(target))


def _are_closed(readers: Sequence[CallOfTensors]) -> bool:
    """Whether a tensor is read, and only by layers within which nothing is rounded."""
    return bool(readers) and all(_is_closed(reader.op) for reader in readers)


def _is_closed(op: Any) -> bool:
    """Whether layers of weights are inside a layer, where nothing is rounded."""
    inside = named_layers(op) if isinstance(op, keras.layers.Layer) else ()
    return any(known_as(inner) in KERNELS for _, inner in inside)


def _carry(old: Any, new: Any) -> None:
    for was, now in paired_variables(old, new):
        now.assign(was)
    compute_from_variables(new)


def _is_elementwise(op: Any, x: Any) -> bool:
    """Whether a layer multiplies each channel by a number of its own and adds another.

    Not of what is masked: no convolution hands the mask on.
    """
    if not is_one_of(op, ELEMENTWISE) or not str(x.dtype).startswith("float"):
        return False
    if mask_of(x) is not None:
        return False
    by_channel = getattr(op, "axis", -1) in (-1, len(x.shape) - 1)
    return by_channel and (len(x.shape) == IMAGE_RANK or None not in x.shape[1:])


def _shape_of_all_calls(op: Any, x: Any) -> tuple[int | None, ...]:
    """The shape of a layer's input, None for what differs from call to call."""
    shapes = [node.input_tensors[0].shape for node in calls_of(op)]
    sizes = (set(axis) for axis in zip(*shapes, strict=True))
    return tuple(size if len(found) == 1 else None for size, found in zip(x.shape, sizes, strict=True))


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
