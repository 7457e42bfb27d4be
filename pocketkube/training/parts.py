"""Computes a batch part after part, so that only one part's activations are in memory at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# From inputs and labels of some rows, and which part of all rows they are, to tensors.
Computed = Callable[[Any, Any, Any], Sequence[tf.Tensor]]


def summed_over_parts(
    compute: Computed, inputs: Any, labels: Any, parts: int, like: Sequence[Any]
) -> list[tf.Tensor]:
    """The sums over parts of a batch of what a function gives for each.

    It is part of a `tf.function`.

    Args:
        compute: The function.
        inputs: Tensors `[rows, ...]`.
        labels: Tensors `[rows, ...]`.
        parts: How many parts; no more than rows. They differ by one row at most.
        like: Variables or tensors with the shapes and types of what `compute` gives.
    """
    if parts == 1:
        return list(compute(inputs, labels, 1.0))
    rows = tf.shape(tf.nest.flatten(inputs)[0])[0]

    def add(part: tf.Tensor, sums: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        start, end = part * rows // parts, (part + 1) * rows // parts
        of_inputs, of_labels = tf.nest.map_structure(lambda each: each[start:end], (inputs, labels))
        found = compute(of_inputs, of_labels, (end - start) / rows)
        return part + 1, [a + tf.cast(b, a.dtype) for a, b in zip(sums, found, strict=True)]

    # A loop of the graph: parts that stood side by side in it could run side by side, too.
    none = [tf.zeros(each.shape, each.dtype) for each in like]
    _, sums = tf.while_loop(lambda part, _: part < parts, add, (0, none), parallel_iterations=1)
    return list(sums)
