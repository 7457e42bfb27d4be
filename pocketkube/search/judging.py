"""Judges a compressed model on the validation examples: its score, and how far it is from the whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.dataset import Arrays
from pocketkube.structure import arranged
from pocketkube.traceable import refuse_untraceable
from pocketkube.training.task import Task

# Examples at a time: activations of a few hundred stay in the processor's caches.
BATCH_SIZE = 250


@dataclass(frozen=True)
class Judged:
    """How right a model is on examples.

    Attributes:
        score: The task's score of all of them; more is better.
        loss: The mean of its loss.
        distance: The mean of how far outputs are from the uncompressed model's: of classes the
            Kullback-Leibler divergence from its distribution, of values what the loss says.
    """

    score: float
    loss: float
    distance: float


class Judge:
    """Judges one model; it is traced once, whatever weights the model has by then.

    Args:
        model: The model.
        task: The score.
        examples: Inputs and labels, arrays with a leading axis of examples.
        wanted: What the uncompressed model says of them, for each head that is trained.
    """

    def __init__(
        self, model: keras.Model, task: Task, examples: tuple[Arrays, Arrays], wanted: Arrays
    ) -> None:
        self._arrays, self._task = (*examples, wanted), task
        signature = tf.nest.map_structure(
            lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype), self._arrays
        )

        @tf.function(autograph=False, input_signature=signature, jit_compile=False)
        def judged(inputs: Any, labels: Any, wanted: Any) -> list[tf.Tensor]:
            outputs = model(arranged(model, inputs), training=False)
            means = [
                task.loss(labels, outputs),
                task.distance_to(outputs, list(wanted), 1.0),
                *tf.unstack(task.scores(labels, outputs), axis=1),
            ]
            return [tf.reduce_sum(tf.stack(means), axis=1), *task.tallies(labels, outputs)]

        # A function for each model is meant; TensorFlow warns of those that trace when they are called.
        self._judged = judged.get_concrete_function()

    def __call__(self, count: int | None = None) -> Judged:
        """Judges the model as it is now.

        Args:
            count: How many of the examples, the first; all if None.
        """
        size = len(self._arrays[0][0]) if count is None else min(count, len(self._arrays[0][0]))
        totals: list[np.ndarray] = []
        for rows in np.array_split(np.arange(size), -(-size // BATCH_SIZE)):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            batch = tf.nest.map_structure(lambda x, part=part: tf.constant(x[part]), self._arrays)
            found = [each.numpy().astype(np.float64) for each in self._judged(*batch)]
            totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else found
        means, *tallies = totals
        loss, distance, *scores = (means / size).tolist()
        return Judged(self._task.score_of(loss, self._task.scores_of(scores, tallies)), loss, distance)


def softened_outputs(model: keras.Model, task: Task, inputs: Arrays) -> Arrays:
    """What a model says of examples, in the form in which models are compared: see `Task.softened`.

    Raises:
        UserError: If TensorFlow cannot compute with its layers' names.
    """
    refuse_untraceable(model)
    found: list[Sequence[np.ndarray]] = []

    @tf.function(autograph=False, reduce_retracing=True, jit_compile=False)
    def said(batch: Any) -> Any:
        return task.softened(model(arranged(model, batch), training=False), 1.0)

    for rows in np.array_split(np.arange(len(inputs[0])), -(-len(inputs[0]) // BATCH_SIZE)):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        found.append([each.numpy() for each in said(tuple(tf.constant(x[part]) for x in inputs))])
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))
