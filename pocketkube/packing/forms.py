"""The forms that a weight of few values can have, and the float32 numbers that each stands for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Blocks:
    """How a weight is divided into blocks, each with a codebook or a scale of its own.

    Attributes:
        axes: The axes of the output channels, as in (3,) or (2, 3); () where the whole weight is one
            channel.
        bucket_size: Weights of a block, which follow each other within a channel; the last one of a
            channel may be shorter. None where a block is a whole channel.
    """

    axes: tuple[int, ...] = ()
    bucket_size: int | None = None

    def count(self, shape: Sequence[int]) -> int:
        """The number of blocks of a weight of `shape`."""
        return self._channels(shape) * self._buckets(shape)

    def owners(self, shape: Sequence[int]) -> np.ndarray:
        """The block that each weight belongs to, int32 `shape`: channel by channel, from 0."""
        channels, buckets = self._channels(shape), self._buckets(shape)
        length = math.prod(shape) // max(channels, 1)
        within = np.arange(length, dtype=np.int32) // np.int32(self.bucket_size or max(length, 1))
        rows = np.arange(channels, dtype=np.int32)[:, None] * np.int32(buckets) + within
        rest = [axis for axis in range(len(shape)) if axis not in self.axes]
        order = [*self.axes, *rest]
        return rows.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))

    def _channels(self, shape: Sequence[int]) -> int:
        return math.prod(shape[axis] for axis in self.axes)

    def _buckets(self, shape: Sequence[int]) -> int:
        length = math.prod(shape) // max(self._channels(shape), 1)
        return -(-length // (self.bucket_size or max(length, 1)))


@dataclass(frozen=True)
class Codebook:
    """A weight each of whose numbers is one of a few of its block.

    Attributes:
        bits: Bits of an index, 1 to 8.
        centroids: The numbers of each block, float32 `[blocks, 2^bits]`.
        indices: Which of its block's numbers each weight is, uint8, as the weight's shape.
        blocks: Which weights share a codebook.
        kept: False where the weight is zero whatever its index says, bool, as the weight's shape;
            None where no weight is.
    """

    bits: int
    centroids: np.ndarray
    indices: np.ndarray
    blocks: Blocks = Blocks()
    kept: np.ndarray | None = None


@dataclass(frozen=True)
class Grid:
    """A weight each of whose numbers is a whole number of steps: `(level - zero_point) * scale`.

    Attributes:
        bits: Bits of a level, 1 to 8.
        scales: The step of each block, float32 `[blocks]`.
        levels: Integers, int16, as the weight's shape: 0 to 2^bits - 1 with zero points, else
            -2^(bits - 1) to 2^(bits - 1) - 1.
        zero_points: The level, whole or not, that stands for zero, float32 `[blocks]`; None where it
            is 0.
        blocks: Which weights share a scale.
        kept: False where the weight is zero whatever its level says, as the codebook's.
    """

    bits: int
    scales: np.ndarray
    levels: np.ndarray
    zero_points: np.ndarray | None = None
    blocks: Blocks = Blocks()
    kept: np.ndarray | None = None

    @property
    def lowest(self) -> int:
        """The lowest level that there can be."""
        return 0 if self.zero_points is not None else -(2 ** (self.bits - 1))


Form = Codebook | Grid


def decode(form: Form) -> np.ndarray:
    """The weight that a form stands for, float32. What trains with a form computes with these."""
    if isinstance(form, Codebook):
        owners = form.blocks.owners(form.indices.shape)
        values = form.centroids.astype(np.float32, copy=False)[owners, form.indices]
    else:
        owners = form.blocks.owners(form.levels.shape)
        values = form.levels.astype(np.float32)
        if form.zero_points is not None:
            values = values - form.zero_points.astype(np.float32)[owners]
        values = values * form.scales.astype(np.float32)[owners]
    return values if form.kept is None else np.where(form.kept, values, np.float32(0))
