"""Gradients with fewer bits on their way between workers."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def compressed(gradients: Sequence[Any], kind: str | None) -> Sequence[Any]:
    """Gradients as they travel.

    Args:
        gradients: Those of a loss that is scaled, so that small ones are not lost.
        kind: fp16, or None for all their bits.

    Returns:
        The same numbers; with fp16 what is too large is infinite, as is the sum of all workers.
    """
    if kind is None:
        return gradients
    return [tf.cast(tf.convert_to_tensor(gradient), tf.float16) for gradient in gradients]


def decompressed(gradients: Sequence[tf.Tensor], variables: Sequence[Any]) -> list[tf.Tensor]:
    """Gradients with their variables' types."""
    return [tf.cast(each, variable.dtype) for each, variable in zip(gradients, variables, strict=True)]
