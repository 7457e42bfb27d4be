"""How an overall sparsity is shared among layers."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

Distribution = Literal["uniform", "size", "global"]


def layer_sparsities(
    kernels: Sequence[np.ndarray], sparsity: float, distribution: Distribution
) -> list[float]:
    """The sparsity of each kernel, such that all of them together have `sparsity`.

    Args:
        kernels: The kernels as they are, `[..., outputs]`.
        sparsity: Part of all weights that is to be zero.
        distribution: "uniform": the same in each. "size": in proportion to the logarithm of the
            kernel's number of weights, clipped to [0, 1] (PocketFlow, 2018) and further to leave as
            many weights as there are output channels: a layer of none gives the same whatever it is
            shown, and all that was trained before it would be lost. "global": what one threshold
            for all gives, magnitudes in parts of what their layer has left (LAMP, Lee et al., 2021).
    """
    return DISTRIBUTIONS[distribution](kernels, sparsity)


def _uniform(kernels: Sequence[np.ndarray], sparsity: float) -> list[float]:
    return [sparsity] * len(kernels)


def _by_size(kernels: Sequence[np.ndarray], sparsity: float) -> list[float]:
    sizes = np.array([kernel.size for kernel in kernels], float)
    most = 1 - np.array([kernel.shape[-1] for kernel in kernels]) / sizes
    shares = np.log(sizes)
    result = np.zeros(len(sizes))
    free = np.ones(len(sizes), bool)
    # A layer that would need more than it has to give gives that; the others the rest.
    while free.any():
        rest = sparsity * sizes.sum() - (most * sizes)[~free].sum()
        result[free] = shares[free] * rest / max((shares * sizes)[free].sum(), 1e-12)
        over = free & (result > most)
        if not over.any():
            break
        result[over], free = most[over], free & ~over
    return [float(value) for value in result]


def _by_threshold(kernels: Sequence[np.ndarray], sparsity: float) -> list[float]:
    scores = [_lamp(kernel) for kernel in kernels]
    owners = np.repeat(np.arange(len(kernels)), [len(each) for each in scores])
    gone = np.argsort(np.concatenate(scores), kind="stable")[: round(sparsity * len(owners))]
    counts = np.bincount(owners[gone], minlength=len(kernels))
    return [int(count) / len(each) for count, each in zip(counts, scores, strict=True)]


def _lamp(kernel: np.ndarray) -> np.ndarray:
    """Squares in ascending order, each over the sum of itself and all that are larger."""
    squares = np.sort(np.square(kernel, dtype=np.float64).ravel())
    return squares / np.maximum(np.cumsum(squares[::-1])[::-1], 1e-300)


DISTRIBUTIONS: dict[str, Callable[[Sequence[np.ndarray], float], list[float]]] = {
    "uniform": _uniform,
    "size": _by_size,
    "global": _by_threshold,
}
