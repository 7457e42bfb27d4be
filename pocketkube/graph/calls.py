"""Every call of a model's graph at batch size 1, with the shapes that really flow there."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from pocketkube.errors import UserError
from pocketkube.graph.not_called import refuse_open_target
from pocketkube.graph.walk import functional_graph, walk
from pocketkube.keras_private import computed_spec


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer or operation, nested models opened.

    Attributes:
        path: Its name, with those of the models around it: "backbone/conv1".
        op: The layer or operation.
        shapes: Shapes of the input tensors, batch axis included and 1.
        outputs: Shapes of the output tensors, likewise.
        dtypes: Number types of the output tensors.
        arguments: What was passed, by parameter name; tensors as their shapes.
        args: What was passed by position; tensors as symbolic ones at batch size 1.
        kwargs: What was passed by keyword, likewise.
    """

    path: str
    op: Any
    shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    arguments: dict[str, Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def layer_calls(model: keras.Model) -> list[LayerCall]:
    """The calls of a functional or sequential model in the order of computation.

    Args:
        model: The model; a layer that is called twice, itself or within a nested model, comes twice.

    Raises:
        UserError: If the model is a subclassed one, or a shape beside the batch is not fixed, be it in
            what an operation was given.
    """
    function = functional_graph(model)
    for tensor in function.inputs:
        if None in tensor.shape[1:]:
            raise UserError(
                f"The input {tensor.name} of {model.name} has the shape {tensor.shape}, in which only "
                "the first, the batch, may be None: build the model again with a fixed input shape, "
                f"such as keras.Input({_closed(tensor.shape[1:])}), and load the weights into it."
            )
    calls: list[LayerCall] = []

    def visit(path: str, node: Any, tensors: list[Any]) -> list[Any]:
        refuse_open_target(path, node.operation)
        args, kwargs = node.arguments.fill_in(
            dict(zip(map(id, node.input_tensors), tensors, strict=True))
        )
        made = _outputs(node, tensors, args, kwargs)
        calls.append(
            LayerCall(
                path,
                node.operation,
                tuple(_shape(x, path) for x in tensors),
                tuple(_shape(x, path) for x in made),
                tuple(str(x.dtype) for x in made),
                _by_name(node.operation, args, kwargs, path),
                tuple(args),
                dict(kwargs),
            )
        )
        return made

    walk(function, [_alone(x) for x in function.inputs], visit)
    return calls


def _closed(shape: Sequence[int | None]) -> tuple[int, ...]:
    """A shape as an example of one with a size for each axis."""
    return tuple(size or 224 for size in shape)


def _alone(tensor: Any) -> Any:
    """A tensor of one example."""
    shape = (1, *tensor.shape[1:]) if tensor.shape else ()
    return keras.KerasTensor(shape, tensor.dtype, sparse=tensor.sparse)


def _outputs(node: Any, tensors: Sequence[Any], args: Any, kwargs: Any) -> list[Any]:
    op = node.operation
    before = [(1, *x.shape[1:]) if x.shape else () for x in node.input_tensors]
    # A model with open shapes, nested where they are fixed, has to be gone through again; so have
    # operations, which may move the batch or fold positions into it.
    again = not isinstance(op, keras.layers.Layer) or [x.shape for x in tensors] != before
    made = _spec(op.compute_output_spec, args, kwargs) if again else None
    made = made or [_alone(x) for x in node.outputs]
    if any(None in x.shape for x in made):
        # What a layer declares may be open where what it computes is not.
        made = _spec(lambda *a, **k: computed_spec(op.call, *a, **k), args, kwargs) or made
    return made


def _spec(spec: Any, args: Any, kwargs: Any) -> list[Any] | None:
    """The output tensors, or None where a number of examples is written into the network."""
    try:
        return list(keras.tree.flatten(spec(*args, **kwargs)))
    except Exception:
        return None


def _shape(tensor: Any, path: str) -> tuple[int, ...]:
    if None in tensor.shape:
        raise UserError(
            f"A tensor at {path} has the shape {tensor.shape}, in which only the first, the batch, may "
            "be None: give the layer fixed sizes."
        )
    return tuple(tensor.shape)


def _by_name(op: Any, args: Any, kwargs: Any, path: str) -> dict[str, Any]:
    signature = inspect.signature(op.call)
    # Keras lets every layer be told these, and keeps them from one that does not ask.
    asked = {k: v for k, v in kwargs.items() if k in signature.parameters or k not in IMPLIED}
    bound = signature.bind(*args, **asked).arguments
    return {
        name: _shape(value, path) if isinstance(value, keras.KerasTensor) else value
        for name, value in bound.items()
    }


IMPLIED = ("training", "mask")
