"""Says which layer of a network cannot be called with examples, and what would be right."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from pocketkube.errors import UserError, first_line
from pocketkube.graph.replay import replay
from pocketkube.graph.walk import functional_graph, walk
from pocketkube.plain_errors import in_words


@contextmanager
def naming_what_cannot_be_called(model: keras.Model) -> Iterator[None]:
    """Says of an error while a network is computed whether the network cannot be called at all.

    Args:
        model: The network, as it came.

    Raises:
        UserError: Names the layer that fails, with zeros too, or the one size of batch that it takes.
        Exception: What else was raised: the network is no cause of it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = None if in_words(error) else why_not_called(model)
        if reason is None:
            raise
        raise UserError(f"{model.name}: {reason}") from error


def why_not_called(model: keras.Model) -> str | None:
    """Why Keras cannot call a network that it could build; None where it can, with zeros.

    Args:
        model: The network.
    """
    function = functional_graph(model)

    def look(path: str, node: Any, values: list[Any]) -> list[Any]:
        refuse_open_target(path, node.operation)
        return [None] * len(node.outputs)

    try:
        walk(function, [None] * len(function.inputs), look)
    except UserError as error:
        return str(error)
    # Sizes that are open are given by data alone.
    if any(None in tensor.shape[1:] for tensor in function.inputs):
        return None
    fixed = max((tensor.shape[0] or 0 for tensor in function.inputs), default=0)
    if reason := _failure(model, fixed or 2):
        return reason
    if fixed and _failure(model, fixed + 1):
        return (
            f"it is made for batches of {fixed}, and is given others here: build it with "
            "batch_shape=(None, …), and copy the weights by set_weights."
        )
    return None


def refuse_open_target(path: str, op: Any) -> None:
    """Says when a reshaping operation was given a shape that is not known.

    Keras builds it, but can call it neither with examples nor with symbols.

    Args:
        path: Its path.
        op: Any layer or operation.

    Raises:
        UserError: If it is one, with None in the shape that it is to give.
    """
    shape = getattr(op, "newshape", None)
    if not isinstance(shape, tuple | list) or None not in shape:
        return
    first, *others = (-1 if size is None else size for size in shape)
    remedy = "give numbers, of which one may be -1"
    if first == -1 and others.count(-1) <= 1:
        remedy = f"use keras.layers.Reshape({tuple(others)}), which leaves the batch as it is"
    raise UserError(
        f"{path} ({type(op).__name__}) is to give the shape {tuple(shape)}, and Keras cannot compute "
        f"with None, which keras.ops.shape says of a size that is open: {remedy}."
    )


def _failure(model: keras.Model, batch: int) -> str | None:
    """Which layer fails with so many examples of zeros, and why."""
    last: tuple[str, Any] | None = None

    def look(path: str, op: Any, tensors: list[Any]) -> list[Any]:
        nonlocal last
        last = path, op
        return tensors

    try:
        replay(model, [tf.zeros((batch, *x.shape[1:]), x.dtype) for x in model.inputs], look)
    # What a layer raises is its own affair.
    except Exception as error:
        if last is None or in_words(error):
            return None
        path, op = last
        return f"Keras cannot call {path} ({type(op).__name__}) with examples: {first_line(error)}"
    return None
