"""Means over classes of what was counted of each: the intersection over union, and F1."""

from typing import Any

import numpy as np


def mean_overlap(hits: Any, errors: Any, ops: Any = np) -> Any:
    """The mean over classes of `hits / (hits + errors)`.

    With the places that are right, and those that are wrong by the label or by the answer, this is the
    mean intersection over union; with hits counted twice it is the macro F1.

    Args:
        hits: `[..., classes]`.
        errors: `[..., classes]`.
        ops: Whose arrays these are: NumPy, or keras.ops.

    Returns:
        `[...]`, of the classes that have either; 0 where none has.
    """
    total = hits + errors
    shares = hits / ops.maximum(total, 1.0)
    there = ops.where(total > 0, ops.ones_like(shares), ops.zeros_like(shares))
    return ops.sum(shares, axis=-1) / ops.maximum(ops.sum(there, axis=-1), 1.0)
