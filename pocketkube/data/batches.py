"""Serves a split's examples in batches, the same ones for a seed however many ranks share them."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pocketkube.data.augmentation import (
    change_images,
    change_maps,
    draw,
    is_image,
    is_map,
    mixed,
    refuse_unfit,
)
from pocketkube.data.dataset import Arrays, Dataset, Examples, Labels
from pocketkube.data.reading import Batches, read
from pocketkube.data.token_pairs import LENGTH_STEP, TokenPairs, by_length
from pocketkube.spec.sections import Augmentation

# How many streamed examples are shuffled among each other.
_SHUFFLE_BUFFER = 8192

_Rows = Callable[[tf.Tensor], tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]]


def batches(
    examples: Examples,
    batch_size: int,
    *,
    epoch_seed: tuple[int, int] | None = None,
    augmentation: Augmentation | None = None,
    rank: int = 0,
    ranks: int = 1,
    drop_remainder: bool = False,
    skip: int = 0,
) -> Batches:
    """One pass over the examples.

    Tokens of text are filled up to the longest sentence of their batch only, and with `epoch_seed` a
    batch has sentences of like lengths.

    Everything random follows from `epoch_seed` and from an example's place in the global order,
    so that rows `rank::ranks` of each global batch are the same whoever computes them.

    Args:
        examples: The split.
        batch_size: Examples in a batch over all ranks.
        epoch_seed: Seed and number of the epoch, which give the order; None keeps the files'.
        augmentation: What to change at random; needs `epoch_seed`.
        rank: Whose part of each batch to give.
        ranks: How many share a batch. The last batch may leave some of them with 0 rows.
        drop_remainder: Whether to leave out a last batch that is not full.
        skip: How many leading batches to leave out; they cost nothing where the examples are
            arrays, else they are read.

    Returns:
        Batches of `(inputs, labels)`: tuples of tensors `[b, ...]`. Class numbers are int32 `[b]`;
        with mixup they are float32 rows `[b, num_classes]` that sum to 1. An example that cannot be
        read ends them with a DataError.

    Raises:
        UserError: If the augmentation does not fit the examples.
    """
    change = augmentation if augmentation and any(augmentation.model_dump().values()) else None
    if change:
        if epoch_seed is None:
            raise ValueError("augmentation needs epoch_seed: it is the seed of its random numbers")
        refuse_unfit(change, examples)
    seed = np.array(epoch_seed or (0, 0), np.int64)
    x_specs, y_specs = examples.open().element_spec
    images = [is_image(spec) for spec in x_specs]
    shown = [spec for spec, image in zip(x_specs, images, strict=True) if image]
    maps = [is_map(spec, shown) for spec in y_specs]

    def changed(rows_of: _Rows, rows: tf.Tensor, uniform: tf.Tensor) -> tuple:
        inputs, labels = rows_of(rows)
        uniform = tf.gather(uniform, rows)
        return (
            tuple(
                change_images(x, change, uniform) if image and change else x
                for x, image in zip(inputs, images, strict=True)
            ),
            tuple(
                change_maps(y, change, uniform) if is_a_map and change else y
                for y, is_a_map in zip(labels, maps, strict=True)
            ),
        )

    def part(number: tf.Tensor, size: tf.Tensor, rows_of: _Rows) -> tuple:
        """This rank's rows of global batch `number`, which has `size` rows."""
        rows = tf.range(rank, size, ranks)
        if change is None:
            return rows_of(rows)
        draws = draw(change, batch_size, tf.random.experimental.stateless_fold_in(seed, number))
        inputs, labels = changed(rows_of, rows, draws.uniform)
        if not change.mixup:
            return inputs, labels
        # The order is random already: the next row is a random partner.
        others, their_labels = changed(rows_of, (rows + 1) % size, draws.uniform)
        share = tf.gather(draws.share, rows)
        ours, theirs = (
            tuple(_weighable(y, kind) for y, kind in zip(column, examples.labels, strict=True))
            for column in (labels, their_labels)
        )
        return (
            tuple(mixed(x, other, share) for x, other in zip(inputs, others, strict=True)),
            tuple(mixed(y, other, share) for y, other in zip(ours, theirs, strict=True)),
        )

    count = examples.size // batch_size if drop_remainder else -(-examples.size // batch_size)
    if examples.pairs is not None:
        served = _paired(examples.pairs, batch_size, epoch_seed, count, skip, part)
    elif examples.arrays is None:
        served = _streamed(examples, batch_size, epoch_seed, count, skip, part)
    else:
        served = _gathered(examples, batch_size, epoch_seed, count, skip, part)
    left = tf.data.experimental.assert_cardinality(max(0, count - skip))
    return Batches(served.apply(left).prefetch(tf.data.AUTOTUNE), examples)


def materialize(examples: Examples, count: int | None, seed: int) -> tuple[Arrays, Arrays]:
    """Takes examples as arrays.

    Args:
        examples: The split.
        count: How many to choose at random; None, or more than there are, takes all in order.
        seed: The choice follows from it.

    Returns:
        Inputs and labels, tuples of arrays with a leading axis of the number taken.

    Raises:
        DataError: If an example cannot be read.
    """
    whole = count is None or count >= examples.size
    order = np.random.default_rng(seed).permutation(examples.size)[: None if whole else count]
    if examples.arrays is not None:
        if whole:
            return examples.arrays
        inputs, labels = examples.arrays
        return tuple(x[order] for x in inputs), tuple(y[order] for y in labels)
    if examples.pairs is not None:
        rows = np.arange(examples.size) if whole else order
        found = examples.pairs.examples(tf.constant(rows), tf.constant(examples.pairs.length))
        inputs, labels = (tuple(np.asarray(x) for x in side) for side in found)
        return inputs, labels
    chosen = np.zeros(examples.size, bool)
    chosen[order] = True
    mask = tf.constant(chosen)
    stream = examples.open().enumerate().filter(lambda place, _: mask[place])
    stream = stream.map(lambda _, example: example).take(len(order))
    taken = list(read(stream.as_numpy_iterator(), examples.explain))
    # They come in the stream's order; which may be by class, and a batch of these should not be.
    turn = np.arange(examples.size) if whole else np.argsort(np.argsort(order))
    inputs, labels = zip(*(taken[place] for place in turn), strict=True)
    return (
        tuple(np.stack(column) for column in zip(*inputs, strict=True)),
        tuple(np.stack(column) for column in zip(*labels, strict=True)),
    )


def calibration_examples(dataset: Dataset, count: int, seed: int) -> tuple[Arrays, Arrays]:
    """Training examples to calibrate on, as `materialize` takes them.

    Args:
        dataset: The data set; where an original model labels it, labels are drawn from what it says.
        count: How many to choose at random.
        seed: The choice follows from it, and the draws.
    """
    inputs, labels = materialize(dataset.train, count, seed)
    return inputs, labels if dataset.drawn is None else dataset.drawn(inputs, seed)


def _gathered(
    examples: Examples,
    batch_size: int,
    epoch_seed: tuple[int, int] | None,
    count: int,
    skip: int,
    part: Callable,
) -> tf.data.Dataset:
    """Batches of examples that are arrays: only the wanted rows are touched."""
    assert examples.arrays is not None
    order = np.arange(examples.size)
    if epoch_seed is not None:
        order = np.random.default_rng(epoch_seed).permutation(order)
    with tf.device("CPU:0"):
        places = tf.constant(order)
        inputs, labels = (
            tuple(tf.convert_to_tensor(array) for array in arrays) for arrays in examples.arrays
        )

    def batch(number: tf.Tensor) -> tuple:
        start = number * batch_size
        size = tf.minimum(tf.constant(batch_size, tf.int64), examples.size - start)

        def rows_of(rows: tf.Tensor) -> tuple:
            return _rows(inputs, labels, tf.gather(places, start + rows))

        return part(number, size, rows_of)

    numbers = tf.data.Dataset.range(min(skip, count), count)
    return numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE)


def _paired(
    pairs: TokenPairs,
    batch_size: int,
    epoch_seed: tuple[int, int] | None,
    count: int,
    skip: int,
    part: Callable,
) -> tf.data.Dataset:
    """Batches of tokens, each as long as it has to be; without a seed as long as all are."""
    order, lengths = np.arange(len(pairs.lengths)), np.full(count, pairs.length)
    if epoch_seed is not None:
        order = by_length(pairs.lengths, batch_size, epoch_seed)
        longest = np.maximum.reduceat(pairs.lengths[order], np.arange(count) * batch_size)
        lengths = np.minimum(-(-longest // LENGTH_STEP) * LENGTH_STEP, pairs.length)
    with tf.device("CPU:0"):
        places, longest_of = tf.constant(order), tf.constant(lengths)

    def batch(number: tf.Tensor) -> tuple:
        start = number * batch_size
        size = tf.minimum(tf.constant(batch_size, tf.int64), len(order) - start)

        def rows_of(rows: tf.Tensor) -> tuple:
            return pairs.examples(tf.gather(places, start + rows), longest_of[number])

        return part(number, size, rows_of)

    numbers = tf.data.Dataset.range(min(skip, count), count)
    return numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE)


def _streamed(
    examples: Examples,
    batch_size: int,
    epoch_seed: tuple[int, int] | None,
    count: int,
    skip: int,
    part: Callable,
) -> tf.data.Dataset:
    """Batches of examples that are read as they come."""
    stream = examples.open()
    if epoch_seed is not None:
        mixed_seed = int(np.random.default_rng(epoch_seed).integers(2**31))
        stream = stream.shuffle(
            min(_SHUFFLE_BUFFER, examples.size), seed=mixed_seed, reshuffle_each_iteration=False
        )

    def batch(number: tf.Tensor, whole: tuple) -> tuple:
        inputs, labels = whole

        def rows_of(rows: tf.Tensor) -> tuple:
            return _rows(inputs, labels, rows)

        return part(number, tf.shape(inputs[0], tf.int64)[0], rows_of)

    wholes = stream.batch(batch_size).take(count).enumerate().skip(skip)
    return wholes.map(batch, num_parallel_calls=tf.data.AUTOTUNE)


def _rows(inputs: tuple, labels: tuple, rows: tf.Tensor) -> tuple:
    return tuple(tf.gather(x, rows) for x in inputs), tuple(tf.gather(y, rows) for y in labels)


def _weighable(labels: tf.Tensor, kind: Labels) -> tf.Tensor:
    """Labels as something that can be averaged: class numbers as one-hot rows."""
    # The column that labels of pixels may have is a row's.
    labels = labels[..., 0] if labels.shape.rank > 1 and labels.shape[-1] == 1 else labels
    if labels.dtype.is_floating:
        return labels
    assert kind.num_classes is not None
    return tf.one_hot(labels, kind.num_classes)
