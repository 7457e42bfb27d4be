"""The classes that a classifier's outputs, or one-hot labels, stand for."""

import numpy as np


def predicted_classes(outputs: np.ndarray, cut: float | None = None) -> np.ndarray:
    """The class that each row of outputs names.

    Args:
        outputs: `[N, ..., C]` probabilities or logits. With `C` = 1 they are of the second of two
            classes.
        cut: What such a single output has to exceed: 0.5 for probabilities, 0 for logits. None takes
            them for probabilities if all lie within 0 and 1, and for logits else.

    Returns:
        Integers `[N, ...]`; -1 where an output is not a finite number, so that it is never right.
    """
    if outputs.ndim == 1:
        outputs = outputs[:, np.newaxis]
    finite = np.isfinite(outputs).all(axis=-1)
    if outputs.shape[-1] == 1:
        scores = outputs[..., 0]
        if cut is None:
            cut = 0.5 if bool(((scores >= 0) & (scores <= 1))[finite].all()) else 0.0
        classes = (scores > cut).astype(np.int64)
    else:
        classes = np.argmax(np.where(np.isfinite(outputs), outputs, -np.inf), axis=-1)
    return np.where(finite, classes, -1)


def class_numbers(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The class that each label names.

    Args:
        labels: Class numbers `[N, ...]`, in floats perhaps, with or without a last axis of 1; or rows
            over classes, of which the likeliest counts; or probabilities of the second of two classes.
        shape: Of the outputs that they are for, with the batch axis.

    Returns:
        Integers `[N, ...]`, one for each row of outputs.
    """
    rank = max(len(shape), 2)
    if labels.ndim == rank and labels.shape[-1] > 1:
        return np.argmax(labels, axis=-1)
    numbers = labels[..., 0] if labels.ndim == rank else labels
    if is_single(shape) and np.issubdtype(numbers.dtype, np.floating):
        numbers = np.where((numbers > 0) & (numbers < 1), numbers > 0.5, numbers)
    return np.rint(numbers).astype(np.int64)


def is_single(shape: tuple[int, ...]) -> bool:
    """Whether outputs of a shape, with the batch axis, are a single unit's."""
    return len(shape) < 2 or shape[-1] == 1


def are_one_hot(labels: np.ndarray) -> bool:
    """Whether labels are rows `[N, ..., C]`, `C` of 2 or more, of zeros and in each a single one."""
    if labels.ndim < 2 or labels.shape[-1] < 2:
        return False
    rows = labels == 1
    return bool((rows | (labels == 0)).all() and (rows.sum(axis=-1) == 1).all())
