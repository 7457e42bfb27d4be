"""One step of training."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pocketkube.training.course import Course
from pocketkube.training.forward import call_model
from pocketkube.training.workers import Workers, share_weight

# From inputs and labels of this worker's rows to the whole batch's mean loss and score, `[2]`.
Step = Callable[[Any, Any], tf.Tensor]


def train_step(course: Course, workers: Workers) -> Step:
    """What changes the weights by one batch, which workers share.

    The gradients are those of the mean loss over all rows of the batch, however unevenly workers share
    them. Loss and score travel with them, so that all workers know the same figures.
    """
    model, optimizer, task = course.model, course.optimizer, course.task
    trained, method, distillation = course.trained, course.method, course.distillation
    weight = share_weight(course.batch_size, workers)

    def compute(arguments: Any, *, training: bool) -> Any:
        return distillation.observe(model, arguments, training=training)

    @tf.function(reduce_retracing=True)
    def step(inputs: Any, labels: Any) -> tf.Tensor:
        labels, answers = distillation.answers(inputs, labels)
        with tf.GradientTape() as tape:
            (outputs, seen), extra = call_model(model, inputs, method, training=True, compute=compute)
            loss = task.loss(labels, outputs, course.settings.label_smoothing)
            loss = tf.reduce_mean(distillation.loss(loss, outputs, seen, answers))
            total = tf.add_n([loss, *(tf.cast(each, loss.dtype) for each in extra)])
            scaled = optimizer.scale_loss(total * weight)
        gradients = tape.gradient(scaled, [v.value for v in trained])
        gradients = [
            tf.zeros_like(v) if g is None else g for g, v in zip(gradients, trained, strict=True)
        ]
        gradients = method.gradients(gradients, trained)
        figures = weight * tf.stack([loss, task.score_of_all(labels, outputs)])
        *gradients, figures = workers.average([*gradients, figures])
        optimizer.apply(gradients, trained)
        return figures

    return step
