"""Which kernels of a model are sparsified: those that multiply many channels into many."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from pocketkube.graph.kernels import Kernel, kernels_of


def sparsifiable(model: keras.Model) -> Iterator[Kernel]:
    """The kernels that may hold zeros, each with one axis of outputs.

    A depthwise kernel has few weights and each of them counts; it stays as it is, and so do biases
    and what normalises.

    Args:
        model: The model, built.

    Yields:
        The kernels; that of a shared layer comes once.
    """
    return (kernel for kernel in kernels_of(model) if not is_depthwise(kernel))


def sparsifiable_kernels(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """The path of the layer and the variable of each kernel of `sparsifiable`."""
    return ((kernel.layer, kernel.variable) for kernel in sparsifiable(model))


def is_depthwise(kernel: Kernel) -> bool:
    """Whether each of its outputs reads one input only."""
    return len(kernel.axes) > 1


def depthwise_note(model: keras.Model) -> list[str]:
    """A sentence on the kernels that stay dense, and how many of all weights they hold."""
    dense = sum(math.prod(k.variable.shape) for k in kernels_of(model) if is_depthwise(k))
    if not dense:
        return []
    total = dense + sum(math.prod(kernel.shape) for _, kernel in sparsifiable_kernels(model))
    return [
        "Depthwise kernels stay dense, as each of their few weights counts: they hold "
        f"{dense} of the {total} weights of kernels ({dense / total:.1%})."
    ]


def count_zeros(model: keras.Model) -> tuple[int, int]:
    """How many weights of those kernels are zero, and how many there are."""
    found = [np.asarray(kernel) for _, kernel in sparsifiable_kernels(model)]
    return sum(int((kernel == 0).sum()) for kernel in found), sum(kernel.size for kernel in found)
