"""Trains a model of Keras 2 as the budget says, for the methods that compress while they train."""

import math
from typing import Any

from tests.benchmarks.peers.arrays import Arrays, shifted_batches
from tests.benchmarks.peers.budget import FINAL_PART, WARMUP, WEIGHT_DECAY, Budget


def fit(
    model: Any,
    keras: Any,
    arrays: Arrays,
    budget: Budget,
    seed: int,
    callbacks: list[Any],
) -> None:
    """Trains with labels alone.

    Args:
        model: Of logits.
        keras: The module that it is of.
        arrays: The data.
        budget: The course.
        seed: Of the order and of the shifts.
        callbacks: The method's own.
    """
    steps = len(arrays.train.labels) // budget.batch_size
    batches = shifted_batches(arrays.train, budget.batch_size, budget.shift, seed)
    model.compile(
        optimizer(keras, budget, steps * budget.epochs),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(
        batches,
        steps_per_epoch=steps,
        epochs=budget.epochs,
        callbacks=callbacks,
        verbose=0,
    )


def optimizer(keras: Any, budget: Budget, steps: int) -> Any:
    """AdamW on one cycle, its decay on kernels alone, as PocketKube trains."""

    class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            import tensorflow as tf

            step, warmup = tf.cast(step, tf.float32), float(round(WARMUP * steps))
            part = (step - warmup) / max(steps - warmup, 1.0)
            fall = FINAL_PART + (1 - FINAL_PART) * 0.5 * (1 + tf.cos(math.pi * part))
            return budget.learning_rate * tf.where(step < warmup, (step + 1) / max(warmup, 1.0), fall)

    made = keras.optimizers.AdamW(OneCycle(), weight_decay=WEIGHT_DECAY)
    made.exclude_from_weight_decay(var_names=["gamma", "beta", "bias", "moving", "min", "max", "step"])
    return made
