"""Which of a kernel's weights become zero together."""

from collections.abc import Callable
from typing import Literal

import numpy as np

Pattern = Literal["element", "block", "two_of_four"]
BLOCK, GROUP = 4, 4


def mask_of(kernel: np.ndarray, sparsity: float, pattern: Pattern, axis: int = -1) -> np.ndarray:
    """The weights that stay: those of the largest magnitude, as many as `sparsity` leaves.

    One stays at least: a layer of none gives the same whatever it is shown.

    Args:
        kernel: The kernel.
        sparsity: Part of the weights that goes, 0 to 1.
        pattern: "element": each for itself. "block": four neighbouring outputs that read the same
            input together, as XNNPACK's sparse 1x1 convolutions compute them. "two_of_four": of each
            four neighbouring inputs of an output the same number, two at a sparsity of 0.5; XNNPACK
            has no kernel for it.
        axis: The kernel's axis of outputs.

    Returns:
        A boolean for each weight, in the kernel's shape.
    """
    magnitudes = np.moveaxis(np.abs(kernel), axis, -1)
    kept = PATTERNS[pattern](magnitudes.reshape(-1, magnitudes.shape[-1]), sparsity)
    return np.moveaxis(kept.reshape(magnitudes.shape), -1, axis)


def _elements(matrix: np.ndarray, sparsity: float) -> np.ndarray:
    return _largest(matrix.ravel(), round(sparsity * matrix.size)).reshape(matrix.shape)


def _blocks(matrix: np.ndarray, sparsity: float) -> np.ndarray:
    inputs, outputs = matrix.shape
    # The last block may be short: its mean is over the weights that it has.
    starts = np.arange(0, outputs, BLOCK)
    widths = np.diff(np.append(starts, outputs))
    means = np.add.reduceat(matrix, starts, axis=1) / widths
    kept = _largest(means.ravel(), round(sparsity * means.size)).reshape(inputs, -1)
    return np.repeat(kept, widths, axis=1)


def _of_each_group(matrix: np.ndarray, sparsity: float) -> np.ndarray:
    inputs, outputs = matrix.shape
    padded = np.zeros((-(-inputs // GROUP) * GROUP, outputs))
    padded[:inputs] = matrix
    groups = padded.reshape(-1, GROUP, outputs)
    order = np.argsort(np.argsort(-groups, axis=1, kind="stable"), axis=1)
    return (order < GROUP - round(sparsity * GROUP)).reshape(-1, outputs)[:inputs]


def _largest(values: np.ndarray, gone: int) -> np.ndarray:
    """A mask of all but the `gone` smallest, and of the largest in any case."""
    mask = np.ones(len(values), bool)
    mask[np.argsort(values, kind="stable")[: min(gone, len(values) - 1)]] = False
    return mask


PATTERNS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "element": _elements,
    "block": _blocks,
    "two_of_four": _of_each_group,
}
