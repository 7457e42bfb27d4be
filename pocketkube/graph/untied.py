"""Finds weights that were shared when a model was made, and no longer are once it was loaded."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from pocketkube.graph.names import named_layers
from pocketkube.graph.walk import functional_graph, walk
from pocketkube.keras_private import own_variables


def untied(model: keras.Model) -> list[str]:
    """Says which weights of a model are copies of each other, number by number.

    A .keras file keeps that two layers hold the same third one. It does not keep that two layers have
    the same variable, or that an operation was given one: either gets numbers of its own.

    Args:
        model: A functional or sequential model as it was loaded.

    Returns:
        One sentence for each copy.
    """
    weights = list(_matrices(model))
    found = []
    for place, (name, value) in enumerate(weights):
        for first, before in weights[:place]:
            if _is_same(value, before):
                found.append(
                    f"{name} has the numbers of {first} and is a variable of its own: if they were "
                    "one, the file has untied them, and the model has "
                    f"{value.size:,} parameters more than it was made with."
                )
                break
    for path, value in _constants(model):
        for first, before in weights:
            if _is_same(value, before) or _is_same(value.T, before):
                found.append(
                    f"{path} computes with a copy of {first} that no training changes: the file has "
                    "untied them. Give the layer to one of your own that reads its weights."
                )
                break
    return found


def _matrices(model: keras.Model) -> Iterator[tuple[str, np.ndarray]]:
    """The kernels and the like, by name: what could not be equal by chance."""
    seen: set[int] = set()
    for name, layer in named_layers(model):
        for variable in own_variables(layer):
            if id(variable) not in seen and len(variable.shape) > 1:
                seen.add(id(variable))
                value = np.asarray(variable)
                if (value != value.flat[0]).any():
                    yield f"{name}/{variable.name}", value


def _constants(model: keras.Model) -> Iterator[tuple[str, np.ndarray]]:
    """The numbers that operations are given, by the operation's path."""
    found: list[tuple[str, np.ndarray]] = []

    def visit(path: str, node: Any, tensors: list[None]) -> list[None]:
        for value in keras.tree.flatten((node.arguments.args, node.arguments.kwargs)):
            is_array = not isinstance(value, keras.KerasTensor | keras.Variable)
            if is_array and len(getattr(value, "shape", ())) > 1:
                found.append((path, np.asarray(value)))
        return [None] * len(node.outputs)

    function = functional_graph(model)
    walk(function, [None] * len(function.inputs), visit)
    yield from found


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.array_equal(one, other)
