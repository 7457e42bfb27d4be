"""What PocketKube uses of Keras's private names, in one place: a new Keras may change them.

tests/test_keras_private.py says what each of these has to give.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

import keras
from keras.src import backend
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer
from keras.src.losses.loss import apply_mask
from keras.src.losses.losses import LossFunctionWrapper
from keras.src.models import Functional
from keras.src.saving.serialization_lib import (
    ObjectSharingScope,
    record_object_after_deserialization,
    serialize_keras_object,
)
from keras.src.trainers.compile_utils import CompileLoss
from keras.src.utils.naming import to_snake_case

__all__ = [
    "CompileLoss",
    "CustomScaleLayer",
    "Functional",
    "LayerScale",
    "LossFunctionWrapper",
    "ObjectSharingScope",
    "StochasticDepth",
    "apply_mask",
    "attention_axes",
    "attention_output_shape",
    "attention_projection",
    "calls_of",
    "changed_moments",
    "compiled_loss",
    "computed_spec",
    "flat_layers",
    "flat_losses",
    "functional_of",
    "has_graph",
    "has_weight_decay",
    "inner_layers",
    "inputs_structure",
    "is_operation",
    "loss_arguments",
    "mask_of",
    "masked_states",
    "nodes_by_depth",
    "origin",
    "outputs_structure",
    "overridden",
    "own_variables",
    "place_among",
    "record_object_after_deserialization",
    "serialize_keras_object",
    "set_trainable_alone",
    "to_snake_case",
]


_Tell = Callable[[int], None]
_tells: ContextVar[tuple[_Tell, ...]] = ContextVar("tells", default=())
_initialize_variable = backend.Variable._initialize_with_initializer
_build_normalization = keras.layers.Normalization.build


@contextmanager
def telling_of_variables(tell: _Tell) -> Iterator[None]:
    """Tells how many numbers each variable and constant of a layer holds, before they are made.

    It is told of what its own thread makes; blocks may overlap in any way.
    """
    # Once and for good: whoever put back what it found would undo what others need.
    if backend.Variable._initialize_with_initializer is _initialize_variable:
        backend.Variable._initialize_with_initializer = _told_variable
        keras.layers.Normalization.build = _told_normalization
    _tells.set((*_tells.get(), tell))
    try:
        yield
    finally:
        _tells.set(tuple(each for each in _tells.get() if each is not tell))


def _told_variable(variable: Any, initializer: Any) -> None:
    for tell in _tells.get():
        tell(math.prod(variable._shape))
    _initialize_variable(variable, initializer)


@wraps(_build_normalization)
def _told_normalization(layer: Any, input_shape: Any) -> None:
    """A mean and a variance that a layer was given become constants of its input's shape."""
    if layer.input_mean is not None and input_shape is not None:
        axes = {axis for axis in layer.axis if -len(input_shape) <= axis < len(input_shape)}
        for tell in _tells.get():
            tell(2 * math.prod(input_shape[axis] or 0 for axis in axes))
    _build_normalization(layer, input_shape)


def has_graph(layer: Any) -> bool:
    """Whether a layer is a functional model, whose calls can be seen."""
    return hasattr(layer, "_nodes_by_depth")


def functional_of(model: keras.Model) -> Any:
    """The functional model within a sequential one; None of a model that has none."""
    return getattr(model, "_functional", None)


def nodes_by_depth(function: Any) -> Mapping[int, Sequence[Any]]:
    """The calls of a functional model: those of depth 0 give its outputs, larger ones come before."""
    nodes: Mapping[int, Sequence[Any]] = function._nodes_by_depth
    return nodes


def inputs_structure(function: Any) -> Any:
    """The tensors that a functional model takes, in their structure; None of others."""
    return getattr(function, "_inputs_struct", None)


def outputs_structure(function: Any) -> Any:
    """The tensors that a functional model gives, in their structure."""
    return function._outputs_struct


def origin(tensor: Any) -> tuple[Any, int, int]:
    """The operation that made a symbolic tensor, by which of its calls, and as which output."""
    operation, call, place = tensor._keras_history
    return operation, call, place


def calls_of(operation: Any) -> Sequence[Any]:
    """All calls of a layer or operation on symbolic tensors, as nodes."""
    nodes: Sequence[Any] = operation._inbound_nodes
    return nodes


def flat_layers(layer: Any, *, include_self: bool = True) -> list[Any]:
    """A layer or model and all layers within it, each once."""
    return list(layer._flatten_layers(include_self=include_self))


def inner_layers(layer: Any) -> Sequence[Any]:
    """The layers that a layer or model itself holds, not those within them."""
    layers: Sequence[Any] = layer._layers
    return layers


def own_variables(layer: Any) -> list[Any]:
    """The weights that are a layer's own, not those of layers within it."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def set_trainable_alone(layer: Any, trainable: bool) -> None:
    """Says whether a layer is frozen, and nothing of its variables and the layers within it."""
    layer._trainable = trainable


def place_among(optimizer: Any, variable: Any) -> int:
    """A variable's place among those that an optimizer was built for."""
    place: int = optimizer._get_variable_index(variable)
    return place


def has_weight_decay(optimizer: Any, variable: Any) -> bool:
    """Whether a variable is none of those that an optimizer's weight decay spares."""
    decays: bool = optimizer._use_weight_decay(variable)
    return decays


def computed_spec(call: Any, *args: Any, **kwargs: Any) -> Any:
    """The shapes and types of what a function of tensors gives, without computing it."""
    return backend.compute_output_spec(call, *args, **kwargs)


def is_operation(operation: Any) -> bool:
    """Whether an operation is one of keras.ops, and no layer."""
    return not isinstance(operation, keras.layers.Layer) and type(operation).__module__.startswith(
        "keras.src.ops."
    )


def mask_of(tensor: Any) -> Any:
    """Which positions of a tensor count, as masking layers say; None where all do."""
    return backend.get_keras_mask(tensor)


@contextmanager
def masked_states(cells: Iterable[Any], mask_for: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Within the block, what cells read of their own state is multiplied by a mask of our own.

    It stands in the place of recurrent dropout, which there is in training mode alone; inputs lose
    nothing.

    Args:
        cells: Cells of recurrent layers.
        mask_for: From a cell and its state `[batch, units]` to its mask; called once for each call of
            the layer.
    """
    found = list(cells)
    before = [dict(vars(cell)) for cell in found]
    for cell in found:
        # The other implementation has no mask for the state.
        vars(cell).update(dropout=0.0, recurrent_dropout=0.5, implementation=1)
        vars(cell)["_create_dropout_mask"] = partial(_one_for_each_gate, cell, mask_for)
    try:
        yield
    finally:
        for cell, was in zip(found, before, strict=True):
            vars(cell).clear()
            vars(cell).update(was)


def _one_for_each_gate(cell: Any, mask_for: Callable[[Any, Any], Any], state: Any, rate: float) -> Any:
    gates = cell.kernel.shape[1] // cell.units
    mask = mask_for(cell, state)
    return [mask] * gates if gates > 1 else mask


@contextmanager
def changed_moments(layer: Any, change: Callable[..., tuple[Any, Any]]) -> Iterator[None]:
    """Within the block, BatchNormalization computes with another mean and variance of a batch.

    Args:
        layer: The layer.
        change: From mean, variance, inputs and their mask to the mean and the variance, `[channels]`.
    """
    moments = layer._moments

    def changed(inputs: Any, mask: Any) -> tuple[Any, Any]:
        return change(*moments(inputs, mask), inputs, mask)

    with overridden(layer, "_moments", changed):
        yield


@contextmanager
def overridden(layer: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Within the block, a layer has another method of a name."""
    # Not by assignment, which Keras and TensorFlow would track as the layer's state.
    vars(layer)[name] = function
    try:
        yield
    finally:
        del vars(layer)[name]


def compile_arguments(model: keras.Model) -> Mapping[str, Any]:
    """What a model was compiled with, as its user wrote it; empty where that is not known."""
    config = getattr(model, "_compile_config", None)
    arguments: Mapping[str, Any] = {} if config is None else config.config
    return arguments


def compiled_loss(model: keras.Model) -> tuple[Any, Any]:
    """The loss and the weights of losses that a model was compiled with, as its user wrote them."""
    loss = model._compile_loss
    return loss._user_loss, loss._user_loss_weights


def compiled_metrics(model: keras.Model) -> Any:
    """The metrics that a model was compiled with, as its user wrote them; None without any."""
    metrics = getattr(model, "_compile_metrics", None)
    return None if metrics is None else metrics._user_metrics


def loss_arguments(loss: Any) -> Mapping[str, Any]:
    """What a wrapped loss hands to its function beside labels and outputs; nothing of other losses."""
    arguments: Mapping[str, Any] = getattr(loss, "_fn_kwargs", {})
    return arguments


def flat_losses(resolved: CompileLoss) -> Sequence[tuple[Any, Any, Any, Any]]:
    """Of a built `CompileLoss`: each loss's output by its path, the loss, its weight and its name."""
    losses: Sequence[tuple[Any, Any, Any, Any]] = resolved._flat_losses
    return losses


def attention_output_shape(attention: Any) -> tuple[int, ...] | None:
    """The shape that an attention layer was asked to give; None for that of its query."""
    shape: tuple[int, ...] | None = attention._output_shape
    return shape


def attention_axes(attention: Any) -> tuple[int, ...]:
    """The axes of positions over which an attention layer attends."""
    axes: tuple[int, ...] = attention._attention_axes
    return axes


def attention_projection(attention: Any, name: str) -> Any:
    """A dense layer within an attention layer: "query", "key", "value", "output" or "gate"."""
    return getattr(attention, f"_{name}_dense")
