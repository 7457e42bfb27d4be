"""How layers of BatchNormalization compute while a model is trained."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from pocketkube.keras_private import changed_moments, overridden
from pocketkube.spec.sections import Training
from pocketkube.training.workers import Workers

# cuDNN's bound was 1e-5, and as a float that may be a little less.
_LEAST_EPSILON = 1.001e-5


@contextmanager
def trained_batch_norm(layers: Sequence[Any], settings: Training, workers: Workers) -> Iterator[None]:
    """Within it, BatchNormalization computes as the settings say, where it is trained."""
    together = settings.sync_batch_norm and workers.size > 1
    with synchronized_batch_norm(layers, workers) if together else fused_batch_norm(layers):
        yield


@contextmanager
def fused_batch_norm(layers: Sequence[Any]) -> Iterator[None]:
    """Within it, BatchNormalization is one operation instead of a dozen, where it is trained.

    What it computes is the same up to rounding; on a CPU, a step of ResNet-20 takes three quarters of
    the time. Layers have another `call` for as long as a step is traced: no layer of another class
    takes their place, so that models, what is saved of them and what users' code sees stay as they are.
    """
    with ExitStack() as stack:
        for layer in layers:
            if type(layer) is keras.layers.BatchNormalization:
                stack.enter_context(overridden(layer, "call", partial(_fused_call, layer)))
        yield


@contextmanager
def synchronized_batch_norm(layers: Sequence[Any], workers: Workers) -> Iterator[None]:
    """Within it, BatchNormalization takes mean and variance over the rows of all workers.

    Gradients are right for what the workers' losses are together: those of a layer's sums are added up
    over workers on the way back.
    """
    with ExitStack() as stack:
        for layer in layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                stack.enter_context(changed_moments(layer, partial(_moments_of_all, layer, workers)))
        yield


def _fused_call(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    if not (training and layer.trainable and mask is None and _can_be_fused(layer, inputs)):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    channels = inputs.shape[-1]
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones([channels]),
        offset=tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros([channels]),
        mean=[],
        variance=[],
        epsilon=layer.epsilon,
        is_training=True,
    )
    # It gives the variance of what the batch is a sample of; Keras averages that of the batch.
    count = tf.cast(tf.size(inputs) // channels, tf.float32)
    variance *= tf.maximum(count - 1, 1) / count
    for moving, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + now * (1 - layer.momentum))
    return tf.cast(outputs, layer.compute_dtype)


def _can_be_fused(layer: Any, inputs: Any) -> bool:
    return (
        len(inputs.shape) == 4
        and layer.axis in (-1, 3)
        and inputs.shape[-1] is not None
        and inputs.dtype in (tf.float32, tf.float16)
        and layer.variable_dtype == "float32"
        and layer.epsilon >= _LEAST_EPSILON
        and not (layer.renorm or layer.synchronized)
    )


def _moments_of_all(
    layer: Any, workers: Workers, mean: Any, variance: Any, inputs: Any, mask: Any
) -> tuple[Any, Any]:
    # About what the mean is likely to be: of large numbers, squares differ by less than rounding.
    about = tf.cast(layer.moving_mean, mean.dtype)
    channels = tf.size(mean)
    count = tf.size(inputs) // channels if mask is None else tf.math.count_nonzero(mask)
    count, mean = tf.cast(count, mean.dtype), mean - about
    own = [count * mean, count * (variance + tf.square(mean)), count[None]]
    total, squares, count = tf.split(workers.total(tf.concat(own, 0)), [channels, channels, 1])
    mean = total / count
    return about + mean, tf.nn.relu(squares / count - tf.square(mean))
