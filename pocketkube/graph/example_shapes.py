"""Shapes of what is computed of an example, also where a graph leaves them open."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from pocketkube.errors import UserError, first_line
from pocketkube.keras_private import computed_spec


def example_shapes(
    compute: Callable[..., Any],
    inputs: Sequence[keras.KerasTensor],
    name: str,
    example: Sequence[Any] | None = None,
) -> list[tuple[int, ...]]:
    """Shapes of what a model gives, without the batch axis before each.

    Args:
        compute: From a tensor for each input to tensors in any structure.
        inputs: Shape and type of each input; only the batch axis is open.
        name: The model's, for the message.
        example: An example of each input, `[1, ...]`; ones if None. Zeros may stand for nothing.

    Raises:
        UserError: If a shape is known only when it is computed, and that cannot be done.
    """
    made = keras.tree.flatten(computed_spec(compute, *inputs))
    if any(None in tensor.shape[1:] for tensor in made):
        # A reshape to -1 does not say how long its axis is, though inputs of one shape settle it.
        if example is None:
            example = [keras.ops.ones((1, *x.shape[1:]), dtype=x.dtype) for x in inputs]
        given = [keras.ops.cast(one, x.dtype) for one, x in zip(example, inputs, strict=True)]
        try:
            made = keras.tree.flatten(compute(*given))
        except Exception as error:
            # A layer of the user's own may raise anything.
            raise UserError(
                f"The model {name} tells the shape of its outputs only of an example, and cannot be "
                f"called with one of the shapes {[tuple(x.shape[1:]) for x in inputs]}: "
                f"{first_line(error)}"
            ) from error
    return [tuple(tensor.shape[1:]) for tensor in made]
