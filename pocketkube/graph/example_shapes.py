"""Shapes of what is computed of an example, also where a graph leaves them open."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from pocketkube.keras_private import computed_spec


def example_shapes(
    compute: Callable[..., Any], inputs: Sequence[keras.KerasTensor]
) -> list[tuple[int, ...]]:
    """Shapes of what a function gives, without the batch axis before each.

    Args:
        compute: From a tensor for each input to tensors in any structure.
        inputs: Shape and type of each input; only the batch axis is open.
    """
    made = keras.tree.flatten(computed_spec(compute, *inputs))
    if any(None in tensor.shape[1:] for tensor in made):
        # A reshape to -1 does not say how long its axis is, though inputs of one shape settle it.
        example = [keras.ops.zeros((1, *x.shape[1:]), dtype=x.dtype) for x in inputs]
        made = keras.tree.flatten(compute(*example))
    return [tuple(tensor.shape[1:]) for tensor in made]
