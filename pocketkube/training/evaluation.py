"""Judges a model on a split of examples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.batches import batches
from pocketkube.data.dataset import Examples
from pocketkube.traceable import refuse_untraceable
from pocketkube.training.forward import call_model
from pocketkube.training.method import Method
from pocketkube.training.task import Task
from pocketkube.training.workers import Workers, shared

# Examples at a time, over all workers; fewer where their outputs are larger than that.
BATCH_SIZE = 256
LARGEST_OUTPUTS = 1 << 28


@dataclass(frozen=True)
class Scores:
    """How right a model is on all examples of a split.

    Attributes:
        loss: The mean of the task's loss.
        score: The task's score of all examples: the mean of theirs, or what they count together (see
            `Head.is_tallied`).
        heads: The score of each head that is trained.
        each: The score of each example, all heads together, in the split's order, `[n]`.
    """

    loss: float
    score: float
    heads: tuple[float, ...]
    each: np.ndarray = field(repr=False, compare=False)


def evaluate(
    model: keras.Model, examples: Examples, task: Task, batch_size: int | None = None
) -> Scores:
    """Judges a model in inference mode, over all workers where there are several.

    Args:
        model: The model.
        examples: What it is judged on.
        task: The loss and the score.
        batch_size: Examples at a time, over all workers; as many as have room if None.

    Returns:
        How right it is on all examples.
    """
    return evaluate_all(model, [examples], task, batch_size)[0]


def evaluate_all(
    model: keras.Model, splits: Sequence[Examples], task: Task, batch_size: int | None = None
) -> list[Scores]:
    """The same for several splits; the model is traced once for all."""
    judge = judge_of(model, task, Method())
    batch = batch_size or fitting_batch(model)

    def all_scores(workers: Workers) -> list[Scores]:
        return [evaluate_by(judge, examples, task, workers, batch) for examples in splits]

    return shared(all_scores)


def fitting_batch(model: keras.Model, most: int = BATCH_SIZE, numbers: int = LARGEST_OUTPUTS) -> int:
    """How many examples have room together.

    Args:
        model: The model.
        most: As many where outputs are not large.
        numbers: How many numbers their outputs may hold.
    """
    each = sum(prod(size or 1 for size in output.shape[1:]) for output in model.outputs)
    return max(1, min(most, numbers // max(each, 1)))


# From inputs and labels of a batch to loss, score and each head's score of each example,
# `[2 + heads, batch]`, and the tallies of all of them.
Judge = Callable[[Any, Any], tuple[tf.Tensor, list[tf.Tensor]]]


def judge_of(model: keras.Model, task: Task, method: Method) -> Judge:
    """What judges a model as a compression method computes with it, batch by batch.

    Raises:
        UserError: If TensorFlow cannot compute with its layers' names.
    """
    refuse_untraceable(model)

    @tf.function(autograph=False, reduce_retracing=True)
    def judge(inputs: Any, labels: Any) -> tuple[tf.Tensor, list[tf.Tensor]]:
        outputs, _ = call_model(model, inputs, method, training=False)
        loss, score = task.loss(labels, outputs), task.score(labels, outputs)
        figures = tf.stack([loss, score, *tf.unstack(task.scores(labels, outputs), axis=1)])
        return figures, task.tallies(labels, outputs)

    return judge


def evaluate_by(
    judge: Judge, examples: Examples, task: Task, workers: Workers, batch_size: int = BATCH_SIZE
) -> Scores:
    """How right a model is on all examples, each of which one of the workers judges."""
    figures = np.zeros((0, examples.size))
    tallies: list[np.ndarray] = []
    for number, (inputs, labels) in enumerate(
        batches(examples, batch_size, rank=workers.rank, ranks=workers.size)
    ):
        is_idle = not len(inputs[0])
        if is_idle and number:
            continue
        if is_idle:
            # It tells the shapes of what this worker adds nothing to: no LSTM is traced with no rows.
            inputs, labels = next(iter(batches(examples, 1)))
        found, counted = judge(inputs, labels)
        counts = [each.numpy() for each in counted]
        if not number:
            figures = np.zeros((len(found), examples.size))
            tallies = [np.zeros_like(each) for each in counts]
        if is_idle:
            continue
        tallies = [a + b for a, b in zip(tallies, counts, strict=True)]
        # Each worker has every so many rows of a batch.
        own = slice(number * batch_size + workers.rank, (number + 1) * batch_size, workers.size)
        figures[:, own] = found.numpy()
    figures = np.asarray(workers.total(tf.constant(figures)))
    totals = [np.asarray(workers.total(tf.constant(tally))) for tally in tallies]
    loss, score, *means = figures.mean(axis=1).tolist()
    heads = task.scores_of(means, totals)
    return Scores(
        loss,
        task.score_of(loss, heads) if tallies else score,
        heads,
        figures[1].astype(np.float32),
    )
