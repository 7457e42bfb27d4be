"""Makes a data set of arrays that fit into memory: checked, split and brought to their ranges."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import tensorflow as tf

from pocketkube.data.dataset import Arrays, Dataset, Examples, Labels
from pocketkube.data.splits import hold_out, hold_out_by_keys
from pocketkube.errors import UserError
from pocketkube.finite import refuse_not_finite
from pocketkube.predictions import are_one_hot


@dataclass(frozen=True)
class Labelled:
    """Inputs and labels as they were read, each with a leading axis of the same size.

    Attributes:
        inputs: For each input.
        labels: For each output; none where there are inputs alone.
        weights: What each example counts in the loss, `[N]` or `[N, 1]`; None where all count alike.
        keys: `[N, 2]` numbers from 0 to 1 by which examples are held out for the test and for
            validation; None where they are by their places, in proportion from every class.
        same: `[N]` numbers that are equal where examples are: none of these is held out without the
            others. None where each example is one of its own.
        strata: `[N]` the classes for that, where there are no labels to say them; None where there are
            none.
    """

    inputs: Arrays
    labels: Arrays
    weights: np.ndarray | None = None
    keys: np.ndarray | None = None
    same: np.ndarray | None = None
    strata: np.ndarray | None = None


class Shares(Protocol):
    """Which part of the examples is held out; as in a spec's dataset."""

    @property
    def validation_fraction(self) -> float:
        """Part of the training examples that is held out for decisions."""

    @property
    def test_fraction(self) -> float:
        """Part that is held out for the report, where there is no test set."""

    @property
    def max_train(self) -> int | None:
        """How many examples are used at most, beside the test set."""


def in_memory_dataset(
    name: str,
    train: Labelled,
    test: Labelled | None,
    settings: Shares,
    finish: Callable[[np.ndarray], np.ndarray],
    validation: Labelled | None = None,
) -> Dataset:
    """Splits examples and finishes their inputs.

    The test set, where there is none, is held out first; then the first `max_train` of the others
    are taken, and of these the validation set is held out.

    Args:
        name: What to call the data set, also in messages.
        train: Training and validation examples, and test examples where `test` is None.
        test: The test set, if the source has one.
        settings: The fractions and `max_train`.
        finish: Brings some rows of one input to the type and the range that a model takes.
        validation: The validation set, if the source has one.

    Returns:
        The data set; see `Labels` for what its labels are.

    Raises:
        UserError: If labels or inputs are unusable, or too few for three splits.
    """
    parts = [part for part in (train, test, validation) if part is not None]
    if not all(len(array) for part in parts for array in part.inputs):
        raise UserError(f"{name}: has no examples in one of its parts.")
    for part in parts:
        refuse_not_finite(name, "inputs", part.inputs)
        refuse_not_finite(name, "labels", part.labels)
    kinds = _checked_labels(name, parts)
    if train.weights is not None:
        _refuse_weights(name, train.weights)
        if not train.labels:
            raise UserError(
                f"{name}: has weights of examples but no labels, whose loss they would multiply; leave "
                "them out."
            )
    if test is None:
        rows, held = _held_out(train, kinds, settings.test_fraction, 0)
        test, train = _take(train, held), _take(train, rows)
    if settings.max_train is not None:
        train = _take(train, np.arange(min(settings.max_train, len(train.inputs[0]))))
        _refuse_one_class(name, kinds, train)
    if validation is None:
        rows, held = _held_out(train, kinds, settings.validation_fraction, 1)
        validation, train = _take(train, held), _take(train, rows)
    if not all(len(part.inputs[0]) for part in (train, validation, test)):
        raise UserError(
            f"{name}: too few examples for a training, a validation and a test set; "
            f"{len(train.inputs[0]) + len(validation.inputs[0])} to train on, "
            f"{len(test.inputs[0])} to test on."
        )
    judged = (replace(part, weights=None) for part in (validation, test))
    splits = tuple(_examples(part, kinds, finish) for part in (train, *judged))
    assert splits[0].arrays is not None
    shapes = tuple(array.shape[1:] for array in splits[0].arrays[0])
    return Dataset(name, shapes, kinds, *splits)


def examples_of_arrays(inputs: Arrays, labels: Arrays, kinds: tuple[Labels, ...]) -> Examples:
    """Wraps arrays that are ready for a model."""

    def open_arrays() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((inputs, labels))

    return Examples(len(inputs[0]), open_arrays, (inputs, labels), kinds)


def strata_of(name: str, labels: Arrays) -> np.ndarray | None:
    """The classes by which examples with such labels are held out; None where labels are no classes.

    Args:
        name: What messages call the data set.
        labels: For each output, one at least.

    Raises:
        UserError: If they are unusable.
    """
    refuse_not_finite(name, "labels", labels)
    part = Labelled(labels, labels)
    found = _strata(part, _checked_labels(name, [part]))
    return None if isinstance(found, int) else found


def _examples(
    part: Labelled, kinds: tuple[Labels, ...], finish: Callable[[np.ndarray], np.ndarray]
) -> Examples:
    inputs = tuple(finish(array) for array in part.inputs)
    labels = tuple(_finished(array, kind) for array, kind in zip(part.labels, kinds, strict=True))
    if part.weights is not None:
        labels = (*labels, part.weights.reshape(-1).astype(np.float32))
        kinds = (*kinds, Labels(None, shape=()))
    return examples_of_arrays(inputs, labels, kinds)


def _finished(labels: np.ndarray, kind: Labels) -> np.ndarray:
    if kind.num_classes is None or kind.rows:
        # A column, as a Dense layer of one unit gives it: [B] against [B, 1] would broadcast.
        return (labels[:, None] if labels.ndim == 1 else labels).astype(np.float32, copy=False)
    return labels.reshape(len(labels), *(kind.shape or ())).astype(np.int32, copy=False)


def _checked_labels(name: str, parts: Sequence[Labelled]) -> tuple[Labels, ...]:
    """What the labels of each output are; the first part is the training examples."""
    train, kinds = parts[0], []
    if len({len(part.labels) for part in parts}) > 1:
        counts = ", ".join(str(len(part.labels)) for part in parts)
        raise UserError(
            f"{name}: all splits need as many arrays of labels, as y_test beside x_test; they have "
            f"{counts}."
        )
    for number, arrays in enumerate(zip(*(part.labels for part in parts), strict=True)):
        y = f"{name}: y{number}" if len(train.labels) > 1 else name
        shape = arrays[0].shape[1:]
        if any(array.shape[1:] != shape for array in arrays):
            shapes = ", ".join(str(array.shape[1:]) for array in arrays)
            raise UserError(f"{y}: labels of all splits must be of one shape; they are {shapes}.")
        whole = _whole(arrays)
        if all(are_one_hot(array) for array in arrays):
            kinds.append(Labels(shape[-1], rows=True, shape=shape, whole=whole))
        elif any(np.issubdtype(array.dtype, np.floating) for array in arrays) or (
            whole is not None and whole[0] < 0
        ):
            kinds.append(Labels(None, shape=shape or (1,), whole=whole))
        else:
            assert whole is not None
            one_each = arrays[0].size == len(arrays[0])
            kinds.append(Labels(1 + whole[1], shape=() if one_each else shape, whole=whole))
    _refuse_one_class(name, kinds, train)
    return tuple(kinds)


def _refuse_one_class(name: str, kinds: Sequence[Labels], train: Labelled) -> None:
    if (
        kinds
        and all(kind.num_classes is not None for kind in kinds)
        and all((array == array[:1]).all() for array in train.labels)
    ):
        raise UserError(f"{name}: all examples are of one class; it takes two to tell apart.")


def _whole(arrays: Arrays) -> tuple[int, int] | None:
    """The least and the greatest of whole numbers; None where any is none."""
    found = [array for array in arrays if array.size]
    floats = [array for array in found if np.issubdtype(array.dtype, np.floating)]
    if not found or not all((np.rint(array) == array).all() for array in floats):
        return None
    return min(int(array.min()) for array in found), max(int(array.max()) for array in found)


def _refuse_weights(name: str, weights: np.ndarray) -> None:
    is_one_each = weights.size == len(weights) > 0
    if not is_one_each or not np.isfinite(weights).all() or weights.min() < 0 or weights.max() == 0:
        reach = f", from {float(weights.min()):g} to {float(weights.max()):g}" if weights.size else ""
        raise UserError(
            f"{name}: weights of examples are one number each, 0 or more and not all 0. Received: the "
            f"shape {weights.shape}{reach}."
        )


def _held_out(
    part: Labelled, kinds: tuple[Labels, ...], fraction: float, column: int
) -> tuple[np.ndarray, np.ndarray]:
    """See `hold_out`; `column` says which of the keys count."""
    if part.same is not None:
        # The first of each in the order in which they stand; copies follow it.
        _, first, numbers = np.unique(part.same, return_index=True, return_inverse=True)
        places = np.sort(first)
        distinct = replace(_take(part, places), same=None)
        held = np.isin(first[numbers], places[_held_out(distinct, kinds, fraction, column)[1]])
        return np.flatnonzero(~held), np.flatnonzero(held)
    strata = _strata(part, kinds)
    if part.keys is not None:
        return hold_out_by_keys(part.keys[:, column], strata, fraction)
    return hold_out(strata, fraction)


def _strata(part: Labelled, kinds: tuple[Labels, ...]) -> np.ndarray | int:
    """The classes of the first labels that are a class an example; else the number of examples."""
    if part.strata is not None:
        return part.strata
    for array, kind in zip(part.labels, kinds, strict=True):
        if kind.num_classes is None:
            continue
        if kind.rows and array.ndim == 2:
            return array.argmax(axis=1)
        if kind.shape == ():
            return array.reshape(-1)
    return len(part.inputs[0])


def _take(part: Labelled, rows: np.ndarray) -> Labelled:
    inputs, labels = (tuple(x[rows] for x in arrays) for arrays in (part.inputs, part.labels))
    more = (None if x is None else x[rows] for x in (part.weights, part.keys, part.same, part.strata))
    return Labelled(inputs, labels, *more)
