"""Which weights of a model are sparsified: those that multiply many channels into many."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from pocketkube.graph.kernels import kernels_of


def kernels(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """The kernels that may hold zeros.

    A depthwise kernel has few weights and each of them counts; it stays as it is, and so do biases
    and what normalises.

    Args:
        model: The model, built.

    Yields:
        The path of a layer and its kernel; a shared layer comes once.
    """
    for kernel in kernels_of(model):
        is_depthwise = len(kernel.axes) > 1
        if not is_depthwise:
            yield kernel.layer, kernel.variable


def count_zeros(model: keras.Model) -> tuple[int, int]:
    """How many weights of those kernels are zero, and how many there are."""
    found = [np.asarray(kernel) for _, kernel in kernels(model)]
    return sum(int((kernel == 0).sum()) for kernel in found), sum(kernel.size for kernel in found)
