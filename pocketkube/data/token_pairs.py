"""Pairs of token sequences, one behind the other, padded only as far as a batch needs."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

# The tokens that mean no text: what fills up, what is unknown, and a sentence's begin and end.
PADDING, UNKNOWN, BEGIN, END = range(4)
# Lengths of batches are multiples of it, so that there are few different ones.
LENGTH_STEP = 8


@dataclass(frozen=True)
class TokenRows:
    """Sequences of tokens.

    Attributes:
        tokens: Of all of them, int32.
        starts: Where each begins, and behind them where the last one ends, int64 `[N + 1]`.
    """

    tokens: np.ndarray
    starts: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """`[N]`."""
        return np.diff(self.starts)

    def take(self, rows: np.ndarray) -> "TokenRows":
        """Some of them, in this order."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        places = np.arange(lengths.sum()) + np.repeat(self.starts[rows] - (ends - lengths), lengths)
        return TokenRows(self.tokens[places], np.concatenate([[0], ends]).astype(np.int64))

    def row(self, number: int) -> np.ndarray:
        """One of them."""
        return self.tokens[self.starts[number] : self.starts[number + 1]]

    @cached_property
    def _tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(self.tokens, tf.int32), tf.constant(self.starts, tf.int64)

    def padded(self, rows: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """`[len(rows), length]`, int32: some of them, filled up or cut."""
        tokens, starts = self._tensors
        begins = tf.gather(starts, rows)
        places = tf.range(tf.cast(length, tf.int64))[None]
        there = places < (tf.gather(starts, rows + 1) - begins)[:, None]
        found = tf.gather(tokens, tf.where(there, begins[:, None] + places, 0))
        return tf.where(there, found, PADDING)


@dataclass(frozen=True)
class TokenPairs:
    """Sentences and their translations.

    Attributes:
        sources: Sentences, each with its end.
        targets: Their translations, each with its begin and its end.
        length: How many tokens an example's arrays have.
    """

    sources: TokenRows
    targets: TokenRows
    length: int

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many tokens each pair needs, `[N]`: the longer sequence, the begin not counted."""
        return np.maximum(self.sources.lengths, self.targets.lengths - 1)

    def take(self, rows: np.ndarray) -> "TokenPairs":
        """Some of them, in this order."""
        return TokenPairs(self.sources.take(rows), self.targets.take(rows), self.length)

    def examples(
        self, rows: tf.Tensor, length: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor]]:
        """Some of them as a model learns them.

        Args:
            rows: Their numbers, `[n]`.
            length: How many tokens of each.

        Returns:
            Inputs, the source and what has been written before each token; and labels, the tokens that
            are written. Each is int32 `[n, length]`.
        """
        written = self.targets.padded(rows, length + 1)
        labels = written[:, 1:]
        before = tf.where(labels == PADDING, PADDING, written[:, :-1])
        return (self.sources.padded(rows, length), before), (labels,)

    def open(self) -> tf.data.Dataset:
        """All of them, in their order; see `Examples.open`."""

        def of(rows: tf.Tensor) -> tuple:
            inputs, labels = self.examples(rows, tf.constant(self.length, tf.int64))
            shape = (None, self.length)
            return (
                tuple(tf.ensure_shape(x, shape) for x in inputs),
                tuple(tf.ensure_shape(y, shape) for y in labels),
            )

        rows = tf.data.Dataset.range(len(self.lengths)).batch(1024)
        return rows.map(of, num_parallel_calls=tf.data.AUTOTUNE).unbatch()


def by_length(lengths: np.ndarray, batch_size: int, seed: tuple[int, int]) -> np.ndarray:
    """An order in which batches have sequences of like lengths, and follow each other at random.

    Args:
        lengths: Of the sequences, `[N]`.
        batch_size: Examples in a batch.
        seed: The order follows from it.

    Returns:
        The numbers of all sequences. Those that fill no batch come last.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lengths))
    whole = len(order) // batch_size * batch_size
    steps = -(-lengths[order[:whole]] // LENGTH_STEP)
    # Stable: those of one length stay in their random order.
    alike = order[:whole][np.argsort(steps, kind="stable")].reshape(-1, batch_size)
    return np.concatenate([rng.permutation(alike).reshape(-1), order[whole:]])
