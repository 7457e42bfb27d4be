"""Brings a model's inputs and outputs into the order in which another one has them, by their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from pocketkube.graph.compile_settings import compile_like
from pocketkube.graph.walk import functional_graph
from pocketkube.keras_private import inputs_structure, origin, outputs_structure, to_snake_case
from pocketkube.structure import input_names, output_names


@dataclass(frozen=True)
class Order:
    """Places of a model's inputs and outputs in the order of another one; None where they stand so."""

    inputs: tuple[int, ...] | None
    outputs: tuple[int, ...] | None


def order_of(model: keras.Model, like: keras.Model) -> Order:
    """Where a model has the inputs and outputs of another one, by their names.

    Models go by the places of inputs or outputs where their names are not the same, or Keras's own:
    these count how many layers there were before.

    Args:
        model: A functional or sequential model.
        like: Another one, whose order is wanted.
    """
    graphs = functional_graph(model), functional_graph(like)
    return Order(
        _order(input_names(model), input_names(like), [each.inputs for each in graphs]),
        _order(output_names(model), output_names(like), [each.outputs for each in graphs]),
    )


def in_order(model: keras.Model, order: Order) -> keras.Model:
    """The same layers as a model whose inputs and outputs stand in another order.

    It takes and gives a list where the order is another one, and is compiled as the model is.

    Args:
        model: A functional or sequential model; itself where the order is its own.
        order: The order.
    """
    if order == Order(None, None):
        return model
    graph = functional_graph(model)
    inputs, outputs = inputs_structure(graph), outputs_structure(graph)
    if order.inputs is not None:
        inputs = [graph.inputs[place] for place in order.inputs]
    if order.outputs is not None:
        outputs = [graph.outputs[place] for place in order.outputs]
    made = keras.Model(inputs, outputs, name=model.name)
    compile_like(made, model, order.outputs)
    return made


def _order(
    ours: Sequence[str], theirs: Sequence[str], tensors: Sequence[Sequence[Any]]
) -> tuple[int, ...] | None:
    if list(ours) == list(theirs) or sorted(ours) != sorted(theirs):
        return None
    pairs = (*zip(ours, tensors[0], strict=True), *zip(theirs, tensors[1], strict=True))
    if any(_is_of_keras(name, tensor) for name, tensor in pairs):
        return None
    return tuple(map(list(ours).index, theirs))


def _is_of_keras(name: str, tensor: Any) -> bool:
    """Whether a name is one that Keras gives a layer that its user gave none."""
    kind = to_snake_case(type(origin(tensor)[0]).__name__)
    return re.fullmatch(rf"({kind}|keras_tensor)(_\d+)?", name) is not None
