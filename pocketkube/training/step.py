"""One step of training."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pocketkube.keras_private import flat_layers
from pocketkube.training.batch_norm import trained_batch_norm
from pocketkube.training.compression import compressed, decompressed
from pocketkube.training.course import Course
from pocketkube.training.forward import call_model
from pocketkube.training.parts import summed_over_parts
from pocketkube.training.workers import Workers, share_weight

# From inputs and labels of this worker's rows to the whole batch's mean loss and score, `[2]`.
Step = Callable[[Any, Any], tf.Tensor]


def train_step(course: Course, workers: Workers) -> Step:
    """What changes the weights by one batch, which workers share.

    The gradients are those of the mean loss over all rows of the batch, or all of its positions that
    count, however unevenly workers share them. Loss and score travel with them, so that all workers
    know the same figures. Each worker may compute its rows in several parts.
    """
    model, optimizer, task = course.model, course.optimizer, course.task
    trained, method, distillation = course.trained, course.method, course.distillation
    weight = share_weight(course.batch_size, workers)
    parts = min(course.settings.gradient_accumulation_steps, course.batch_size // workers.size)
    compression = course.settings.gradient_compression if workers.size > 1 else None
    # Where all is computed at once, the loss itself is the mean over positions.
    by_positions = task.leaves_out and (parts > 1 or workers.size > 1)

    def observe(arguments: Any, *, training: bool) -> Any:
        layers = [*flat_layers(model), *method.layers]
        with trained_batch_norm(layers, course.settings, workers), method.computing():
            return distillation.observe(model, arguments, training=training)

    def gradients_of(inputs: Any, labels: Any, part: Any) -> list[tf.Tensor]:
        """What rows that are `part` of this worker's add to the batch's gradients and figures."""
        labels, answers = distillation.answers(inputs, labels)
        with tf.GradientTape() as tape:
            (outputs, seen), extra = call_model(model, inputs, method, training=True, compute=observe)
            loss = task.loss(labels, outputs, course.settings.label_smoothing)
            terms = distillation.terms(outputs, seen, answers, labels)
            if task.leaves_out:
                # So do the teachers' terms count, whichever rows are computed together.
                counted = task.counted(labels, outputs)
                terms *= tf.math.divide_no_nan(counted, tf.reduce_mean(counted))
            loss = tf.reduce_mean(distillation.task_share * loss + tf.cast(terms, loss.dtype))
            total = tf.add_n([loss, *(tf.cast(each, loss.dtype) for each in extra)])
            counts = weight * tf.cast(part, loss.dtype)
            if by_positions:
                counts *= tf.reduce_mean(counted)
            scaled = optimizer.scale_loss(total * counts)
        gradients = tape.gradient(scaled, [v.value for v in trained])
        figures = counts * tf.stack([loss, task.score_of_all(labels, outputs), 1.0])
        pairs = zip(gradients, trained, strict=True)
        return [*(tf.zeros_like(v) if g is None else g for g, v in pairs), figures]

    @tf.function(autograph=False, reduce_retracing=True)
    def step(inputs: Any, labels: Any) -> tf.Tensor:
        like = [*trained, tf.zeros(3)]
        *found, figures = summed_over_parts(gradients_of, inputs, labels, parts, like)
        gradients = compressed(method.gradients(found, trained), compression)
        *gradients, figures = workers.average([*gradients, figures])
        gradients = decompressed(gradients, trained)
        if by_positions:
            # How many positions count in all is known only now.
            gradients = [tf.math.divide_no_nan(each, figures[2]) for each in gradients]
            figures = tf.math.divide_no_nan(figures, figures[2])
        optimizer.apply(gradients, trained)
        return figures[:2]

    return step
