"""Layers that hand masks on as Keras 2's did, where Keras 3's of the same name do otherwise.

They compute what Keras 3's do of inputs without masks, which `graph.kinds` counts on. Where no mask
arrives, those stand in the model.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partialmethod, reduce
from typing import Any

import keras
from keras import layers, ops

from pocketkube.graph.rebuild import static_calls
from pocketkube.graph.walk import functional_graph, is_model, own_nodes
from pocketkube.keras_private import mask_of
from pocketkube.older_keras.mask_of import OfKeras2


class _Merging(OfKeras2):
    """A position counts where it counts in all inputs that have a mask."""

    def compute_mask(self, inputs: Sequence[Any], mask: Sequence[Any] | None = None) -> Any:
        """The masks of the inputs in one; None where none has any."""
        return _in_all(mask)


class _Concatenating(_Merging):
    def compute_mask(self, inputs: Sequence[Any], mask: Sequence[Any] | None = None) -> Any:
        """As those of other merging layers, or side by side as the inputs are."""
        ranks = [len(each.shape) for each in mask or () if each is not None]
        axis = self.axis % len(inputs[0].shape)  # type: ignore[attr-defined]
        if mask is None or not ranks or axis >= ranks[0]:
            return _in_all(mask)
        whole = [
            _whole(x, ranks[0]) if each is None else each for x, each in zip(inputs, mask, strict=True)
        ]
        # Not by ops.concatenate, whose operation would be called as Keras 2 calls this layer.
        joined = ops.hstack([_swapped(each, axis) for each in whole])
        return _swapped(joined, axis)


class _Unmasked(OfKeras2):
    """All positions of what it gives count."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None."""


def _in_all(masks: Sequence[Any] | None) -> Any:
    given = [each for each in masks or () if each is not None]
    return reduce(ops.logical_and, given) if given else None


def _whole(tensor: Any, rank: int) -> Any:
    flat = ops.reshape(tensor, (*ops.shape(tensor)[:rank], -1))
    return ops.ones_like(flat[..., 0], dtype="bool")


def _swapped(mask: Any, axis: int) -> Any:
    return mask if axis == 1 else ops.swapaxes(mask, 1, axis)


def _made(way: type, kind: type) -> type:
    """A layer's class that hands masks on in another way, and does not look at them itself.

    It is called MergingAdd or UnmaskedAdd; files name it so.
    """
    name = f"{'Unmasked' if way is _Unmasked else 'Merging'}{kind.__name__}"
    parts: dict[str, Any] = {"__module__": __name__, "__doc__": kind.__doc__}
    if kind in _IN_PAIRS:
        parts["_merge_function"] = partialmethod(_merged, _IN_PAIRS[kind])
    return keras.saving.register_keras_serializable("pocketkube")(type(name, (way, kind), parts))


def _all_made(way: type, *kinds: type) -> dict[str, type]:
    """Such classes by the names of those that they stand for."""
    return {kind.__name__: _made(way, kind) for kind in kinds}


def _merged(layer: Any, operation: Callable[[Any, Any], Any], inputs: Sequence[Any]) -> Any:
    return reduce(operation, inputs)


# Keras 3's own change what a mask leaves out.
_IN_PAIRS: Mapping[type, Callable[[Any, Any], Any]] = {
    layers.Maximum: ops.maximum,
    layers.Minimum: ops.minimum,
    layers.Multiply: ops.multiply,
}
# What TensorFlow's operations become, and layers that know no masks in Keras 2.
UNMASKED: Mapping[str, type] = _all_made(
    _Unmasked,
    layers.Activation,
    layers.Add,
    layers.Concatenate,
    layers.LeakyReLU,
    layers.Multiply,
    layers.Normalization,
    layers.ReLU,
    layers.Rescaling,
    layers.Subtract,
)
# Layers of which no subclass can do so by its masks alone, and what takes their place before.
STAND_INS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    # It hands on the tensor itself, and with it its mask.
    "Identity": ("Rescaling", {"scale": 1.0, "offset": 0.0}),
    # It gives nothing to what a mask leaves out.
    "Softmax": ("Activation", {"activation": "softmax"}),
}
MERGING: Mapping[str, type] = {
    **_all_made(_Concatenating, layers.Concatenate),
    **_all_made(
        _Merging,
        layers.Add,
        layers.Average,
        layers.Maximum,
        layers.Minimum,
        layers.Multiply,
        layers.Subtract,
    ),
}


def masked_layers(model: keras.Model) -> set[str]:
    """The names of this module's layers that a mask arrives at, or may.

    Args:
        model: A model. What a nested one does to masks shows when it runs: what is within one that a
            mask arrives at, and what follows on one with masks, counts too.
    """
    found: set[str] = set()
    unsure: set[int] = set()
    for node in own_nodes(functional_graph(model)):
        op, inputs = node.operation, node.input_tensors
        follows = any(id(x) in unsure for x in inputs)
        arrives = follows or any(mask_of(x) is not None for x in inputs)
        if is_model(op):
            found |= _layers_of_keras_2(op) if arrives else masked_layers(op)
            follows = arrives or _has_masks(op)
        elif arrives and isinstance(op, OfKeras2):
            found.add(op.name)
        if follows:
            unsure.update(map(id, node.outputs))
    return found


def _layers_of_keras_2(model: keras.Model) -> set[str]:
    nodes = (node for _, node in static_calls(functional_graph(model)))
    return {node.operation.name for node in nodes if isinstance(node.operation, OfKeras2)}


def _has_masks(model: keras.Model) -> bool:
    nodes = (node for _, node in static_calls(functional_graph(model)))
    return any(mask_of(x) is not None for node in nodes for x in node.outputs)
