"""BatchNorm that a layer has taken up, and that goes on with the statistics of batches in training."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.keras_private import mask_of, overridden
from pocketkube.quantization.folding import gamma_and_beta

# Its moving averages have to keep up with a course of few steps.
MOST_MOMENTUM = 0.9


class TrainedNorm:
    """A BatchNorm apart from the layer that took it up, for as long as that layer is trained.

    The layer's kernel has the scale then that it had before BatchNorm's factor came into it, and so has
    the grid of its levels. As a channel's factor is positive, weights stand on the same levels either
    way, and may be trained on levels before it is known (Krishnamoorthi, 2018, section 3.2.2, without
    its correction: with a grid for each channel, there is nothing to correct).

    Args:
        layer: The layer with BatchNorm in its kernel and bias; both are changed.
        of: The BatchNorm that it took up, as the network was trained with it.
        channel_axes: The axes of its kernel that count output channels.

    Attributes:
        norm: The BatchNorm; what its kernel multiplies is never negative, whatever gamma is.
        first_factor: What the kernel was divided by, `[channels]`.
    """

    def __init__(self, layer: Any, of: Any, channel_axes: Sequence[int]) -> None:
        self._layer = layer
        self._shape = [
            size if axis in channel_axes else 1 for axis, size in enumerate(layer.kernel.shape)
        ]
        (channels,) = layer.bias.shape
        gamma, beta = gamma_and_beta(of, channels)
        variance = np.asarray(of.moving_variance)
        factor = np.abs(gamma) / np.sqrt(variance + of.epsilon)
        # Where the factor is 0, so is the kernel, and it stays so.
        self.first_factor = np.where(factor > 0, factor, 1).astype(np.float32)
        layer.kernel.assign(np.asarray(layer.kernel) / self.first_factor.reshape(self._shape))
        # What corrects a bias is a shift of the mean, of which batches' statistics know by themselves.
        mean = (beta - np.asarray(layer.bias)) / self.first_factor
        layer.bias.assign(np.zeros(channels, np.float32))
        self.norm = keras.layers.BatchNormalization(
            momentum=min(of.momentum, MOST_MOMENTUM), epsilon=of.epsilon, name=f"{layer.name}_norm"
        )
        self.norm.build(layer.output.shape)
        self.norm.gamma.assign(np.abs(gamma))
        self.norm.beta.assign(beta)
        self.norm.moving_mean.assign(mean)
        self.norm.moving_variance.assign(variance)

    def gamma(self) -> tf.Tensor:
        """What the layer's outputs are multiplied by once they are normalised, `[channels]`."""
        return tf.abs(self.norm.gamma.value)

    def fold(self) -> tf.Tensor:
        """Takes it into the layer's kernel and bias; what is left of it changes nothing.

        Returns:
            What the kernel was multiplied by, `[channels]`; 1 where that is 0.
        """
        norm, kernel, bias = self.norm, self._layer.kernel, self._layer.bias
        deviation = tf.sqrt(norm.moving_variance.value + norm.epsilon)
        factor = self.gamma() / deviation
        kernel.assign(kernel.value * tf.reshape(factor, self._shape))
        bias.assign(bias.value + norm.beta.value - norm.moving_mean.value * factor)
        norm.gamma.assign(deviation)
        for each in (norm.beta, norm.moving_mean):
            each.assign(tf.zeros_like(each.value))
        return tf.where(factor > 0, factor, 1.0)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block, the layer computes with it as in training."""
        call = partial(self._call, type(self._layer).call)
        with overridden(self._layer, "call", call):
            yield

    def _call(self, call: Callable[..., Any], inputs: Any, **options: Any) -> Any:
        outputs = call(self._layer, inputs, **options)
        mask = mask_of(inputs) if self._layer.supports_masking else None
        return tf.cast(self.norm(outputs, training=True, mask=mask), outputs.dtype)


@contextmanager
def all_applied(norms: Sequence[TrainedNorm]) -> Iterator[None]:
    """Within the block, layers compute with their BatchNorms as in training."""
    with ExitStack() as stack:
        for each in norms:
            stack.enter_context(each.applied())
        yield
