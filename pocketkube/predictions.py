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


def are_one_hot(labels: np.ndarray) -> bool:
    """Whether labels are rows `[N, C]`, `C` of 2 or more, of zeros and in each a single one."""
    if labels.ndim != 2 or labels.shape[1] < 2:
        return False
    rows = labels == 1
    return bool((rows | (labels == 0)).all() and (rows.sum(axis=1) == 1).all())
