"""Serves a split's examples in batches, the same ones for a seed however many ranks share them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import tensorflow as tf

from pocketkube.data.augmentation import (
    Draws,
    change_images,
    change_maps,
    crop_images,
    draw,
    is_image,
    is_map,
    mixed,
    random_window,
    refuse_unfit,
)
from pocketkube.data.dataset import Arrays, Dataset, Examples, Labels, Tensors
from pocketkube.data.reading import Batches, read
from pocketkube.data.token_pairs import LENGTH_STEP, TokenPairs, by_length
from pocketkube.spec.sections import Augmentation

_Rows = Callable[[tf.Tensor], tuple[Tensors, Tensors]]


@dataclass(frozen=True)
class _Reads:
    """How the rows of a batch are read.

    Attributes:
        wanted: From the size of a global batch to those of its rows that have to be decoded, in rising
            order.
        drawn: From the number of the batch and such rows to the random numbers for each.
        decode: From these of a row and what is read to an example.
        has_others: Whether some of the rows are only there to be mixed with a rank's own.
    """

    wanted: Callable[[tf.Tensor], tf.Tensor]
    drawn: Callable[[tf.Tensor, tf.Tensor], tuple]
    decode: Callable[[tuple, tuple], tuple]
    has_others: bool


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
    so that rows `rank::ranks` of each global batch are the same whoever computes them. Of examples
    that are not in memory only these are decoded, and with mixup those that they are mixed with.

    Args:
        examples: The split.
        batch_size: Examples in a batch over all ranks.
        epoch_seed: Seed and number of the epoch, which give the order; None keeps the files'.
        augmentation: What to change at random; needs `epoch_seed`.
        rank: Whose part of each batch to give.
        ranks: How many share a batch. The last batch may leave some of them with 0 rows.
        drop_remainder: Whether to leave out a last batch that is not full.
        skip: How many leading batches to leave out; they cost nothing where the examples are
            arrays, else they are read, but none of them is decoded.

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
    x_specs, y_specs = examples.element_spec
    images = [is_image(spec) for spec in x_specs]
    shown = [spec for spec, image in zip(x_specs, images, strict=True) if image]
    maps = [is_map(spec, shown) for spec in y_specs]
    crops, mixes = (change.crop, change.mixup > 0) if change else (0.0, False)
    crops_encoded = crops > 0 and examples.arrays is None and examples.decodes_windows

    def draws_of(number: tf.Tensor) -> Draws:
        assert change is not None
        return draw(change, batch_size, tf.random.experimental.stateless_fold_in(seed, number))

    def drawn(number: tf.Tensor, rows: tf.Tensor) -> tuple:
        if change is None:
            return ()
        draws = draws_of(number)
        return tf.gather(draws.uniform, rows), tf.gather(draws.windows, rows)

    def changed(drawn: tuple, inputs: Tensors, labels: Tensors) -> tuple:
        """Rows of examples, changed by what was drawn for each."""
        if change is None:
            return inputs, labels
        uniform, windows = drawn

        def changed_image(image: tf.Tensor) -> tf.Tensor:
            if crops and not crops_encoded:
                image = crop_images(image, crops, windows)
            return change_images(image, change, uniform)

        return (
            tuple(changed_image(x) if image else x for x, image in zip(inputs, images, strict=True)),
            tuple(
                change_maps(y, change, uniform) if is_a_map else y
                for y, is_a_map in zip(labels, maps, strict=True)
            ),
        )

    def decode(drawn: tuple, raw: tuple) -> tuple:
        """What is read becomes an example, and is changed by what was drawn for it."""
        part = {"window": partial(random_window, seed=drawn[1], least=crops)} if crops_encoded else {}
        example = examples.decode(*raw, **part)
        rows = tf.nest.map_structure(lambda each: each[None], (drawn, *example))
        return tf.nest.map_structure(lambda each: each[0], changed(*rows))

    def own_rows(size: tf.Tensor) -> tf.Tensor:
        return tf.range(tf.minimum(tf.constant(rank, tf.int64), size), size, ranks)

    def partners(rows: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """What mixup mixes rows with: the order is random already, so the next one is at random."""
        return (rows + 1) % size

    def wanted(size: tf.Tensor) -> tf.Tensor:
        rows = own_rows(size)
        if not mixes:
            return rows
        return tf.unique(tf.sort(tf.concat([rows, partners(rows, size)], 0)))[0]

    def part(number: tf.Tensor, size: tf.Tensor, rows_of: _Rows) -> tuple:
        """This rank's rows of global batch `number`, which has `size` rows."""
        rows = own_rows(size)
        inputs, labels = rows_of(rows)
        if not mixes:
            return inputs, labels
        others, their_labels = rows_of(partners(rows, size))
        share = tf.gather(draws_of(number).share, rows)
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
        served = _paired(examples, examples.pairs, batch_size, epoch_seed, count, skip, part)
    elif examples.arrays is None:
        reads = _Reads(wanted, drawn, decode, has_others=mixes)
        served = _streamed(examples, batch_size, epoch_seed, count, skip, reads, part)
    else:

        def change_rows(number: tf.Tensor, rows: tf.Tensor, inputs: Tensors, labels: Tensors) -> tuple:
            return changed(drawn(number, rows), inputs, labels)

        served = _gathered(examples, batch_size, epoch_seed, count, skip, change_rows, part)
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
    stream = examples.open().enumerate().filter(lambda place, _: mask[place]).take(len(order))
    stream = stream.map(lambda _, raw: examples.decode(*raw), num_parallel_calls=tf.data.AUTOTUNE)
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
    change_rows: Callable,
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
        def rows_of(rows: tf.Tensor) -> tuple:
            there = _rows(inputs, labels, tf.gather(places, number * batch_size + rows))
            return change_rows(number, rows, *there)

        return part(number, _size(examples, batch_size, number), rows_of)

    numbers = tf.data.Dataset.range(min(skip, count), count)
    return numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE)


def _paired(
    examples: Examples,
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
        def rows_of(rows: tf.Tensor) -> tuple:
            return pairs.examples(tf.gather(places, number * batch_size + rows), longest_of[number])

        return part(number, _size(examples, batch_size, number), rows_of)

    numbers = tf.data.Dataset.range(min(skip, count), count)
    return numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE)


def _streamed(
    examples: Examples,
    batch_size: int,
    epoch_seed: tuple[int, int] | None,
    count: int,
    skip: int,
    reads: _Reads,
    part: Callable,
) -> tf.data.Dataset:
    """Batches of examples that are read as they come: only the wanted rows are decoded."""
    stream = examples.open()
    if epoch_seed is not None:
        mixed_seed = int(np.random.default_rng(epoch_seed).integers(2**31))
        among = min(examples.shuffled_among, examples.size)
        stream = stream.shuffle(among, seed=mixed_seed, reshuffle_each_iteration=False)
    numbers = range(min(skip, count), count)

    def wanted_of(number: tf.Tensor) -> tf.Tensor:
        return reads.wanted(_size(examples, batch_size, number))

    def choose(number: tf.Tensor, whole: tuple) -> tuple:
        rows = wanted_of(number)
        raw = tf.nest.map_structure(lambda column: tf.gather(column, rows), whole)
        return reads.drawn(number, rows), raw

    def batch(number: tf.Tensor, decoded: tuple) -> tuple:
        inputs, labels = decoded
        have = wanted_of(number)

        def rows_of(rows: tf.Tensor) -> tuple:
            if not reads.has_others:
                return inputs, labels
            return _rows(inputs, labels, tf.searchsorted(have, rows))

        return part(number, _size(examples, batch_size, number), rows_of)

    # All batches have so many, but for the last one, which may have fewer, and perhaps none.
    each, last = (len(wanted_of(tf.constant(number, tf.int64))) for number in (0, count - 1))
    without = len(numbers) if not each else int(not last and len(numbers) > 0)
    empty = tf.data.Dataset.from_tensors(
        tf.nest.map_structure(lambda s: tf.zeros((0, *s.shape), s.dtype), examples.element_spec)
    )
    wholes = stream.skip(skip * batch_size).batch(batch_size).take(len(numbers))
    decoded = (
        tf.data.Dataset.zip(tf.data.Dataset.range(numbers.start, count), wholes)
        .map(choose)
        .unbatch()
        .map(reads.decode, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(max(each, 1))
        .concatenate(empty.repeat(without))
    )
    served = tf.data.Dataset.zip(tf.data.Dataset.range(numbers.start, count), decoded)
    return served.map(batch, num_parallel_calls=tf.data.AUTOTUNE)


def _size(examples: Examples, batch_size: int, number: tf.Tensor) -> tf.Tensor:
    """How many rows global batch `number` has."""
    return tf.minimum(tf.constant(batch_size, tf.int64), examples.size - number * batch_size)


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
