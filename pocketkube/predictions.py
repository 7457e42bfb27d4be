"""Which class a classifier's outputs stand for."""

import numpy as np


def predicted_classes(outputs: np.ndarray) -> np.ndarray:
    """The class that each row of outputs names.

    Args:
        outputs: `[N, ..., C]` probabilities or logits. With `C` = 1 they are of the second of two
            classes: probabilities if all lie within 0 and 1, which are cut at 0.5; logits else,
            which are cut at 0.

    Returns:
        Integers `[N, ...]`; -1 where an output is not a finite number, so that it is never right.
    """
    if outputs.ndim == 1:
        outputs = outputs[:, np.newaxis]
    finite = np.isfinite(outputs).all(axis=-1)
    if outputs.shape[-1] == 1:
        scores = outputs[..., 0]
        probabilities = bool(((scores >= 0) & (scores <= 1))[finite].all())
        classes = (scores > (0.5 if probabilities else 0.0)).astype(np.int64)
    else:
        classes = np.argmax(np.where(np.isfinite(outputs), outputs, -np.inf), axis=-1)
    return np.where(finite, classes, -1)
