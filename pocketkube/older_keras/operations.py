"""TensorFlow's operations between Keras 2's layers, as layers that Keras 3 has."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reference:
    """A tensor: which call of which layer gave it, as which output."""

    layer: str
    call: int
    place: int


@dataclass(frozen=True)
class LayerCall:
    """A built-in layer in an operation's place.

    Attributes:
        kind: The layer's class.
        inputs: What it is called with: one tensor, or several in a list.
        config: The layer's settings, beside its name.
    """

    kind: str
    inputs: tuple[Reference, ...]
    config: Mapping[str, Any] = field(default_factory=dict)


class NotRewritten(Exception):
    """An operation, as it is called, is no layer that Keras 3 has."""


Arguments = Mapping[str, Any]
Rewrite = Callable[[Arguments], LayerCall]


def as_layer(function: str, first: Any, keywords: Mapping[str, Any]) -> LayerCall:
    """The layer that computes what an operation does.

    Args:
        function: TensorFlow's name for it, as "math.multiply".
        first: Its first argument: a tensor, several, or a number.
        keywords: The others by name.

    Raises:
        NotRewritten: If there is none.
    """
    rewrite = _REWRITES.get(function)
    if rewrite is None:
        raise NotRewritten
    given = {key: value for key, value in keywords.items() if value is not None and key != "name"}
    return rewrite({"first": first, **given})


def _pair(arguments: Arguments, *names: str) -> tuple[Any, Any]:
    """Both operands; `names` is what the first and the second are called where they are keywords."""
    first = arguments["first"] if arguments["first"] is not None else arguments.get(names[0])
    return first, arguments.get(names[1])


def _scaled(tensor: Reference, scale: float, offset: float = 0.0) -> LayerCall:
    return LayerCall("Rescaling", (tensor,), {"scale": scale, "offset": offset})


def _add(arguments: Arguments) -> LayerCall:
    match _pair(arguments, "x", "y"):
        case Reference() as x, Reference() as y:
            return LayerCall("Add", (x, y))
        case (Reference() as x, int() | float() as y) | (int() | float() as y, Reference() as x):
            return _scaled(x, 1.0, float(y))
    raise NotRewritten


def _subtract(arguments: Arguments) -> LayerCall:
    match _pair(arguments, "x", "y"):
        case Reference() as x, Reference() as y:
            return LayerCall("Subtract", (x, y))
        case Reference() as x, int() | float() as y:
            return _scaled(x, 1.0, -float(y))
        case int() | float() as x, Reference() as y:
            return _scaled(y, -1.0, float(x))
    raise NotRewritten


def _multiply(arguments: Arguments) -> LayerCall:
    match _pair(arguments, "x", "y"):
        case Reference() as x, Reference() as y:
            return LayerCall("Multiply", (x, y))
        case (Reference() as x, int() | float() as y) | (int() | float() as y, Reference() as x):
            return _scaled(x, float(y))
    raise NotRewritten


def _divide(arguments: Arguments) -> LayerCall:
    match _pair(arguments, "x", "y"):
        case Reference() as x, int() | float() as y if y:
            return _scaled(x, 1.0 / y)
    raise NotRewritten


def _activation(kind: str, config: Mapping[str, Any]) -> Rewrite:
    def rewrite(arguments: Arguments) -> LayerCall:
        first, others = arguments["first"], set(arguments) - {"first"}
        if not isinstance(first, Reference) or others:
            raise NotRewritten
        return LayerCall(kind, (first,), config)

    return rewrite


def _leaky(arguments: Arguments) -> LayerCall:
    first, slope = arguments["first"], arguments.get("alpha", 0.2)
    if not isinstance(first, Reference) or not isinstance(slope, int | float):
        raise NotRewritten
    return LayerCall("LeakyReLU", (first,), {"negative_slope": float(slope)})


def _concatenate(arguments: Arguments) -> LayerCall:
    first, axis = arguments["first"], arguments.get("axis")
    if not _are_tensors(first) or not isinstance(axis, int) or axis == 0:
        raise NotRewritten
    return LayerCall("Concatenate", tuple(first), {"axis": axis})


def _mean(arguments: Arguments) -> LayerCall:
    first, axis, keeps = arguments["first"], arguments.get("axis"), arguments.get("keepdims", False)
    # The mean over one axis may be that of a sequence, an image's rows or features.
    if not isinstance(first, Reference) or axis not in ([1, 2], [2, 1]):
        raise NotRewritten
    return LayerCall("GlobalAveragePooling2D", (first,), {"keepdims": bool(keeps)})


def _reshape(arguments: Arguments) -> LayerCall:
    first, shape = arguments["first"], arguments.get("shape")
    numbers = isinstance(shape, list) and all(isinstance(each, int) for each in shape)
    if not isinstance(first, Reference) or not numbers or not shape or shape[0] != -1:
        raise NotRewritten
    if -1 in shape[1:]:
        raise NotRewritten
    return LayerCall("Reshape", (first,), {"target_shape": shape[1:]})


def _are_tensors(values: Any) -> bool:
    return (
        isinstance(values, Sequence)
        and len(values) > 1
        and all(isinstance(each, Reference) for each in values)
    )


_RELU6 = _activation("ReLU", {"max_value": 6.0})
_ACTIVATIONS = {
    name: _activation("Activation", {"activation": name})
    for name in ("sigmoid", "tanh", "softplus", "elu", "selu", "silu", "softsign")
}
_REWRITES: dict[str, Rewrite] = {
    "__operators__.add": _add,
    "math.add": _add,
    "math.subtract": _subtract,
    "math.multiply": _multiply,
    "math.truediv": _divide,
    "math.divide": _divide,
    "realdiv": _divide,
    "concat": _concatenate,
    "math.reduce_mean": _mean,
    "reshape": _reshape,
    "nn.relu": _activation("ReLU", {}),
    "nn.relu6": _RELU6,
    "nn.leaky_relu": _leaky,
    "nn.softmax": _activation("Softmax", {}),
    "nn.swish": _ACTIVATIONS["silu"],
    **{f"{module}.{name}": each for module in ("nn", "math") for name, each in _ACTIVATIONS.items()},
}
