"""Calls a model with a look at the features inside it, nested models opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from pocketkube.graph.walk import computed, functional_graph, walk
from pocketkube.keras_private import computed_spec, outputs_structure


@dataclass(frozen=True)
class Features:
    """What one layer gives.

    Attributes:
        path: The layer's name, with those of the models around it: "backbone/conv1".
        op: The layer or operation.
        shape: Of its first output without the batch axis.
    """

    path: str
    op: Any
    shape: tuple[int, ...]


class Observed(keras.layers.Layer):
    """A model that gives its outputs and, beside them, what some of its layers give.

    It computes as the model itself does, with its layers and its losses.

    Args:
        model: A functional or sequential model.
        paths: The layers, as `features_of` names them. One that is called twice gives its last call's.
    """

    def __init__(self, model: keras.Model, paths: Sequence[str]) -> None:
        super().__init__()
        self._model, self._paths = model, tuple(paths)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> tuple[Any, list[Any]]:
        """The model's outputs in its own structure, and a tensor for each path."""
        seen: dict[str, Any] = {}

        def see(path: str, op: Any, tensor: Any) -> None:
            seen[path] = tensor

        outputs = _run(self._model, inputs, training, see)
        return outputs, [seen[path] for path in self._paths]


def features_of(model: keras.Model, input_shapes: Sequence[tuple[int, ...]]) -> dict[str, Features]:
    """What the layers of a model give, in the order of computation.

    Args:
        model: A functional or sequential model; the shapes of its own inputs may be open.
        input_shapes: Of its inputs, without the batch axis.

    Returns:
        Features by their path.

    Raises:
        UserError: If the model is a subclassed one, whose layers cannot be seen.
    """
    found: dict[str, Features] = {}

    def see(path: str, op: Any, tensor: Any) -> None:
        found.pop(path, None)
        found[path] = Features(path, op, tuple(tensor.shape[1:]))

    def run(*inputs: tf.Tensor) -> Any:
        return _run(model, inputs, False, see)

    dtypes = [x.dtype for x in functional_graph(model).inputs]
    specs = zip(input_shapes, dtypes, strict=True)
    computed_spec(run, *(keras.KerasTensor((None, *s), dtype=d) for s, d in specs))
    return found


def _run(
    model: keras.Model, inputs: Any, training: bool | None, see: Callable[[str, Any, Any], None]
) -> Any:
    function = functional_graph(model)

    def visit(path: str, node: Any, inputs: list[Any]) -> list[Any]:
        outputs = computed(node, inputs, training=training)
        see(path, node.operation, outputs[0])
        return outputs

    flat = keras.tree.flatten(inputs)
    cast = [keras.ops.cast(x, own.dtype) for x, own in zip(flat, function.inputs, strict=True)]
    return keras.tree.pack_sequence_as(outputs_structure(function), walk(function, cast, visit))
