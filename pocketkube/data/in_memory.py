"""Makes a data set of arrays that fit into memory: checked, split and brought to their ranges."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pocketkube.data.dataset import Arrays, Dataset, Examples
from pocketkube.data.splits import hold_out
from pocketkube.errors import UserError
from pocketkube.spec.schema import DatasetSettings


@dataclass(frozen=True)
class Labelled:
    """Inputs and labels as they were read, each with a leading axis of the same size."""

    inputs: Arrays
    labels: Arrays


def in_memory_dataset(
    name: str,
    train: Labelled,
    test: Labelled | None,
    settings: DatasetSettings,
    finish: Callable[[np.ndarray], np.ndarray],
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

    Returns:
        The data set; integer labels make it a classification.

    Raises:
        UserError: If labels or inputs are unusable, or too few for three splits.
    """
    num_classes = _checked_classes(name, train, test)
    for part in (train,) if test is None else (train, test):
        _refuse_nan(name, "inputs", part.inputs)
        _refuse_nan(name, "labels", part.labels)
    if test is None:
        rows, held = hold_out(_strata(train.labels, num_classes), settings.test_fraction)
        test, train = _take(train, held), _take(train, rows)
    if settings.max_train is not None:
        train = _take(train, np.arange(min(settings.max_train, len(train.labels[0]))))
    rows, held = hold_out(_strata(train.labels, num_classes), settings.validation_fraction)
    if not (len(rows) and len(held) and len(test.labels[0])):
        raise UserError(
            f"{name}: too few examples for a training, a validation and a test set; "
            f"{len(train.labels[0])} to train on, {len(test.labels[0])} to test on."
        )
    splits = tuple(
        _examples(name, part, num_classes, finish)
        for part in (_take(train, rows), _take(train, held), test)
    )
    assert splits[0].arrays is not None
    shapes = tuple(array.shape[1:] for array in splits[0].arrays[0])
    return Dataset(name, shapes, num_classes, *splits)


def examples_of_arrays(inputs: Arrays, labels: Arrays, num_classes: int | None) -> Examples:
    """Wraps arrays that are ready for a model."""

    def open_arrays() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((inputs, labels))

    return Examples(len(labels[0]), open_arrays, (inputs, labels), num_classes)


def _examples(
    name: str, part: Labelled, num_classes: int | None, finish: Callable[[np.ndarray], np.ndarray]
) -> Examples:
    inputs = tuple(finish(array) for array in part.inputs)
    if num_classes is None:
        # A column, as a Dense layer of one unit gives it: [B] against [B, 1] would broadcast.
        labels = tuple(
            (y[:, None] if y.ndim == 1 else y).astype(np.float32, copy=False) for y in part.labels
        )
    else:
        labels = tuple(y.reshape(-1).astype(np.int32, copy=False) for y in part.labels)
    return examples_of_arrays(inputs, labels, num_classes)


def _checked_classes(name: str, train: Labelled, test: Labelled | None) -> int | None:
    """The number of classes; None if the labels are floats."""
    parts = (train,) if test is None else (train, test)
    labels = [array for part in parts for array in part.labels]
    whole = [np.issubdtype(array.dtype, np.integer) or array.dtype == bool for array in labels]
    if not any(whole):
        return None
    if not all(whole):
        raise UserError(
            f"{name}: some labels are integers (classification), some floats (regression); "
            "give all of one kind."
        )
    for array in labels:
        if array.size != len(array):
            raise UserError(
                f"{name}: integer labels are one class an example, of shape ({len(array)},). "
                f"Received: {array.shape}; for one-hot rows give their argmax, for landmarks floats."
            )
        if array.size and int(array.min()) < 0:
            raise UserError(
                f"{name}: labels must be 0 or more. Received: {array.min()} in example "
                f"{int(array.argmin())}."
            )
    if all(len(np.unique(array)) < 2 for array in train.labels):
        raise UserError(f"{name}: all examples are of one class; it takes two to tell apart.")
    return 1 + max(int(array.max()) for array in labels if array.size)


def _refuse_nan(name: str, what: str, arrays: Arrays) -> None:
    for array in arrays:
        if np.issubdtype(array.dtype, np.floating):
            bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
            if bad.any():
                raise UserError(
                    f"{name}: {what} must be finite; {int(bad.sum())} of {len(array)} examples have "
                    f"NaN or infinity, the first of them example {int(bad.argmax())}."
                )


def _strata(labels: Arrays, num_classes: int | None) -> np.ndarray | int:
    return len(labels[0]) if num_classes is None else labels[0].reshape(-1)


def _take(part: Labelled, rows: np.ndarray) -> Labelled:
    return Labelled(tuple(x[rows] for x in part.inputs), tuple(y[rows] for y in part.labels))
