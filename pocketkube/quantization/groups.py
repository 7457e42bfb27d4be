"""Which of a kernel's weights share a scale."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from pocketkube.packing import Blocks

Granularity = Literal["tensor", "channel", "bucket"]


@dataclass(frozen=True)
class Groups:
    """How a kernel's weights are put into groups that share a scale.

    Attributes:
        shape: The kernel's.
        channel_axes: Its axes that count output channels.
        granularity: "tensor": one group. "channel": one for each output channel. "bucket": each
            channel's weights in their order, `bucket_size` at a time.
        bucket_size: Weights in a bucket; the last of a channel may have fewer. None without buckets.
    """

    shape: tuple[int, ...]
    channel_axes: tuple[int, ...]
    granularity: Granularity
    bucket_size: int | None

    @property
    def blocks(self) -> Blocks:
        """The same for packed storage."""
        axes = () if self.granularity == "tensor" else self.channel_axes
        return Blocks(axes, self.bucket_size if self.granularity == "bucket" else None)

    def split(self, kernel: Any) -> tf.Tensor:
        """The kernel as `[members, groups]`; a bucket that is not full ends in zeros."""
        if self.granularity == "tensor":
            return tf.reshape(kernel, (-1, 1))
        matrix = tf.reshape(tf.transpose(kernel, self._order), (self._members, -1))
        if self.granularity == "channel":
            return matrix
        padded = tf.pad(matrix, ((0, self._buckets * self._size - self._members), (0, 0)))
        buckets = tf.reshape(padded, (self._buckets, self._size, -1))
        return tf.reshape(tf.transpose(buckets, (1, 2, 0)), (self._size, -1))

    def join(self, matrix: Any) -> tf.Tensor:
        """What `split` took apart."""
        if self.granularity == "tensor":
            return tf.reshape(matrix, self.shape)
        if self.granularity == "bucket":
            buckets = tf.reshape(matrix, (self._size, self.channels, self._buckets))
            padded = tf.reshape(
                tf.transpose(buckets, (2, 0, 1)), (self._buckets * self._size, self.channels)
            )
            matrix = padded[: self._members]
        moved = tf.reshape(matrix, [self.shape[axis] for axis in self._order])
        return tf.transpose(moved, np.argsort(self._order))

    def of_channels(self, values: Any) -> tf.Tensor:
        """A value for each group, from one for each channel, `[channels]`, where none share a group."""
        return tf.repeat(values, self._buckets if self.granularity == "bucket" else 1)

    @property
    def channels(self) -> int:
        """How many output channels there are."""
        return int(np.prod([self.shape[axis] for axis in self.channel_axes]))

    @property
    def _order(self) -> list[int]:
        rest = [axis for axis in range(len(self.shape)) if axis not in self.channel_axes]
        return [*rest, *self.channel_axes]

    @property
    def _members(self) -> int:
        return int(np.prod(self.shape)) // self.channels

    @property
    def _size(self) -> int:
        return min(self.bucket_size or self._members, self._members)

    @property
    def _buckets(self) -> int:
        return -(-self._members // self._size)
