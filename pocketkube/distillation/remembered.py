"""Computes teachers' answers to all examples once, before training."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import tensorflow as tf

from pocketkube.console.progress import Silent, progress
from pocketkube.training.workers import Workers

# Bytes of answers that are held in memory at most.
LARGEST = 2**28
_BATCH = 256


def remember(
    answer: Callable[[Sequence[tf.Tensor]], Sequence[Any]],
    inputs: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    workers: Workers,
) -> tuple[np.ndarray, ...]:
    """Teachers' answers to all examples; each worker computes a part and all share them.

    Args:
        answer: From a batch of inputs to the answers, `[batch, …]` each.
        inputs: Arrays with a leading axis of examples.
        shapes: Shape of each answer, without the batch axis.
        workers: The processes that share the work.

    Returns:
        Answers in the order of the examples, float32.
    """
    size = len(inputs[0])
    answers = [np.zeros((size, *shape), np.float32) for shape in shapes]
    own = np.arange(workers.rank, size, workers.size)
    answered = tf.function(answer, autograph=False, reduce_retracing=True)
    with (
        progress("teachers", len(own), "example")
        if workers.rank == 0
        else nullcontext(Silent()) as shown
    ):
        for start in range(0, len(own), _BATCH):
            rows = own[start : start + _BATCH]
            found = answered(tuple(tf.convert_to_tensor(x[rows]) for x in inputs))
            for whole, values in zip(answers, found, strict=True):
                whole[rows] = values
            shown.update(start + len(rows))
    return tuple(np.asarray(workers.total(tf.constant(whole))) for whole in answers)
