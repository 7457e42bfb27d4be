"""Runs a functional model operation by operation, with a look at what goes into each."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from pocketkube.graph.dependency import functional_graph, is_model, ordered_nodes

# Sees an operation's path, the operation and its input tensors; gives back those to use.
Tap = Callable[[str, Any, list[Any]], list[Any]]


def replay(
    model: keras.Model,
    inputs: Sequence[Any],
    tap: Tap,
    *,
    in_training: type[keras.layers.Layer] | tuple[()] = (),
) -> Any:
    """Computes a model's outputs, each operation's inputs passing through `tap`.

    Args:
        model: A functional or sequential model.
        inputs: Its input tensors.
        tap: Called before each operation, nested models opened.
        in_training: Layers of this type run in training mode, all others in inference mode.

    Returns:
        The outputs, in the structure that the model gives them.
    """
    return _run(functional_graph(model), inputs, tap, in_training, "")


def _run(function: Any, inputs: Sequence[Any], tap: Tap, in_training: Any, prefix: str) -> Any:
    values = dict(zip(map(id, function.inputs), inputs, strict=True))
    for node in ordered_nodes(function):
        if any(id(x) not in values for x in node.input_tensors):
            continue
        op, path = node.operation, prefix + node.operation.name
        taken = [values[id(x)] for x in node.input_tensors]
        if is_model(op):
            given = _run(functional_graph(op), taken, tap, in_training, f"{path}/")
        else:
            seen = zip(map(id, node.input_tensors), tap(path, op, taken), strict=True)
            args, kwargs = node.arguments.fill_in(values | dict(seen))
            if in_training and isinstance(op, in_training):
                kwargs["training"] = True
            given = op(*args, **kwargs)
        values |= zip(map(id, node.outputs), keras.tree.flatten(given), strict=True)
    return keras.tree.map_structure(lambda x: values[id(x)], function._outputs_struct)
