"""Goes through the calls of a functional model, nested models opened."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

import keras

from pocketkube.errors import UserError
from pocketkube.keras_private import functional_of, has_graph, nodes_by_depth

# From a call's path, its node and the values of its input tensors to those of its output tensors.
Visit = Callable[[str, Any, list[Any]], Sequence[Any]]
Value = TypeVar("Value")
# A call's path, its node and the values of its input tensors.
Call = tuple[str, Any, list[Any]]


def walk(function: Any, inputs: Sequence[Any], visit: Visit) -> list[Any]:
    """Carries a value along with every tensor of a functional model.

    Args:
        function: The model, as `functional_graph` gives it.
        inputs: A value for each of its input tensors: a tensor, a shape, its channels.
        visit: Called for each layer or operation, in the order of computation.

    Returns:
        The values that reach the model's output tensors.
    """
    steps = calls_of(function, inputs)
    try:
        call = next(steps)
        while True:
            call = steps.send(visit(*call))
    except StopIteration as end:
        reached: list[Any] = end.value
        return reached


def calls_of(
    function: Any, inputs: Sequence[Any], prefix: str = ""
) -> Generator[Call, Sequence[Any], list[Any]]:
    """The same as `walk`, one call at a time: each is yielded, and its outputs' values are sent back.

    A value is let go once the last call that takes it has been answered.

    Args:
        function: The model, as `functional_graph` gives it.
        inputs: A value for each of its input tensors.
        prefix: Goes before every path.

    Returns:
        The values that reach the model's output tensors.
    """
    values = dict(zip(map(id, function.inputs), inputs, strict=True))
    nodes = list(own_nodes(function))
    lasts = {id(x): number for number, node in enumerate(nodes) for x in node.input_tensors}
    lasts |= {id(x): len(nodes) for x in function.outputs}
    for number, node in enumerate(nodes):
        input_values = [values[id(x)] for x in node.input_tensors]
        path = prefix + node.operation.name
        output_values: Sequence[Any]
        if is_model(node.operation):
            inner = functional_graph(node.operation)
            input_values = list(entering_values(inner, input_values))
            output_values = yield from calls_of(inner, input_values, f"{path}/")
        else:
            output_values = yield path, node, input_values
        values |= zip(map(id, node.outputs), output_values, strict=True)
        for x in (*node.input_tensors, *node.outputs):
            if lasts.get(id(x), -1) <= number:
                values.pop(id(x), None)
        del input_values, output_values
    return [values[id(x)] for x in function.outputs]


def functional_graph(model: keras.Model) -> Any:
    """The functional model behind `model`.

    Raises:
        UserError: If there is none.
    """
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise UserError(
                f"The model {model.name} has no input shape yet: build it, or add a keras.Input."
            )
        return functional_of(model)
    if not has_graph(model):
        raise UserError(
            f"The model {model.name} is a subclassed one ({type(model).__name__}), whose graph cannot "
            "be seen: build it with the functional API or as a Sequential."
        )
    return model


def ordered_nodes(function: Any) -> Iterator[Any]:
    """The calls of a functional model, in an order in which they can be computed."""
    for depth in sorted(nodes_by_depth(function), reverse=True):
        for node in nodes_by_depth(function)[depth]:
            if node.operation and not node.is_input:
                yield node


def own_nodes(function: Any) -> Iterator[Any]:
    """Those of them that belong to the model, and not to another one that shares a layer with it."""
    known = set(map(id, function.inputs))
    for node in ordered_nodes(function):
        if all(id(x) in known for x in node.input_tensors):
            known.update(map(id, node.outputs))
            yield node


def filled_in(node: Any, input_values: Sequence[Any]) -> tuple[Any, Any]:
    """A call's arguments, positional and by name, with these values as its input tensors."""
    return node.arguments.fill_in(dict(zip(map(id, node.input_tensors), input_values, strict=True)))


def computed(node: Any, input_values: Sequence[Any], *, training: bool | None = False) -> list[Any]:
    """What a call gives for these values, a tensor for each of its outputs.

    Args:
        node: The call.
        input_values: Its input tensors.
        training: Its mode, which comes before one that was recorded with the call or is the layer's
            default, as with a functional model's own. Keras's layers for augmentation augment
            wherever they are not told.
    """
    args, kwargs = filled_in(node, input_values)
    # Keras lets every layer be told, and keeps it from one that does not ask.
    if isinstance(node.operation, keras.layers.Layer):
        kwargs = {**kwargs, "training": training}
    return list(keras.tree.flatten(node.operation(*args, **kwargs)))


def entering_values(function: Any, values: Sequence[Value]) -> Sequence[Value]:
    """Of the values of a nested model's call those of its inputs.

    A mask may come behind them, which tensors carry inside by themselves.
    """
    return values[: len(function.inputs)]


def is_model(op: Any) -> bool:
    """Whether a layer is a nested model whose own layers can be seen."""
    return isinstance(op, keras.Sequential) or has_graph(op)
