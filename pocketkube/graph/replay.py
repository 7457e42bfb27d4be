"""Runs a functional model operation by operation, with a look at what goes into each."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from pocketkube.graph.walk import computed, functional_graph, walk
from pocketkube.keras_private import outputs_structure

# Sees an operation's path, the operation and its input tensors; gives back those to use.
Tap = Callable[[str, Any, list[Any]], list[Any]]


class AllSeenError(Exception):
    """Ends a replay where a tap has seen all that it looks for; whoever replays suppresses it."""


def replay(
    model: keras.Model,
    inputs: Sequence[Any],
    tap: Tap,
    *,
    in_training: Callable[[Any], bool] = lambda op: False,
) -> Any:
    """Computes a model's outputs, each operation's inputs passing through `tap`.

    Args:
        model: A functional or sequential model.
        inputs: Its input tensors, cast to what its inputs are, as its own call does.
        tap: Called before each operation, nested models opened.
        in_training: Which layers run in training mode; all others run in inference mode.

    Returns:
        The outputs, in the structure that the model gives them.
    """
    function = functional_graph(model)

    def visit(path: str, node: Any, tensors: list[Any]) -> list[Any]:
        op = node.operation
        return computed(node, tap(path, op, tensors), training=in_training(op))

    cast = [tf.cast(x, of.dtype) for x, of in zip(inputs, function.inputs, strict=True)]
    outputs = walk(function, cast, visit)
    return keras.tree.pack_sequence_as(outputs_structure(function), outputs)
