"""Asks teachers once for all that will be wanted of them."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import tensorflow as tf

from pocketkube.progress import Silent, progress
from pocketkube.training.workers import Alone

# Bytes of answers that are held in memory at most.
LARGEST = 2**28
_BATCH = 256


def remember(
    ask: Callable[[Sequence[tf.Tensor]], Sequence[Any]],
    inputs: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    ranks: Alone,
) -> tuple[np.ndarray, ...]:
    """What teachers say to all examples; several ranks ask for a part each and share it.

    Args:
        ask: From a batch of inputs to the answers, `[batch, …]` each.
        inputs: Arrays with a leading axis of examples.
        shapes: Shape of each answer, without the batch axis.
        ranks: The processes that share the work.

    Returns:
        Answers in the order of the examples, float32.
    """
    size = len(inputs[0])
    answers = [np.zeros((size, *shape), np.float32) for shape in shapes]
    mine = np.arange(ranks.rank, size, ranks.size)
    asked = tf.function(ask, reduce_retracing=True)
    with (
        progress("teachers", len(mine), "example")
        if ranks.rank == 0
        else nullcontext(Silent()) as shown
    ):
        for start in range(0, len(mine), _BATCH):
            rows = mine[start : start + _BATCH]
            said = asked(tuple(tf.convert_to_tensor(x[rows]) for x in inputs))
            for answer, values in zip(answers, said, strict=True):
                answer[rows] = values
            shown.update(start + len(rows))
    return tuple(np.asarray(ranks.total(tf.constant(answer))) for answer in answers)
