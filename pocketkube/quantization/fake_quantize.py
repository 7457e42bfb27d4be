"""The layers that round activations to levels while a model is trained, and after it.

What they do at inference is what LiteRT's integer kernels do between two operations.
"""

from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from pocketkube.number_formats import LITERT_BITS
from pocketkube.quantization.levels import (
    Levels,
    fake_quantize,
    grid_of,
    scaled_gradient,
    unsigned_levels,
)

Ranges = Literal["learned", "moving_average", "fixed"]


@keras.saving.register_keras_serializable("pocketkube")
class FakeQuantize(keras.layers.Layer):
    """Rounds a tensor to `2^bits` levels, with 0 among them.

    Args:
        bits: 2 to 8.
        ranges: "learned": the step is trained (learned step size, Esser et al., 2020), the zero point
            stays as calibrated. "moving_average": the ends follow those of each batch while training
            (Jacob et al., 2018). "fixed": they stay.
        momentum: How much of a moving average stays at a step.
    """

    def __init__(
        self, bits: int = 8, ranges: Ranges = "learned", momentum: float = 0.99, **options: Any
    ) -> None:
        super().__init__(**options)
        self.bits, self.ranges, self.momentum = bits, ranges, momentum
        self.supports_masking = True
        # While ranges are calibrated, values pass unrounded.
        self.observing = False
        self.kind = ""

    def build(self, input_shape: Any) -> None:
        """Makes the variables: the logarithm of the step and the zero point, or both ends."""
        learned = self.ranges == "learned"
        options = {"shape": (), "dtype": "float32", "autocast": False}
        # Steps differ by orders of magnitude: an optimizer that moves all alike is to move ratios.
        self.log_scale = self.add_weight(
            name="log_scale", initializer="zeros", trainable=learned, **options
        )
        self.zero_point = self.add_weight(
            name="zero_point", initializer="zeros", trainable=False, **options
        )
        # "moving_", for that is what the ranks of a training bring together.
        self.low = self.add_weight(name="moving_low", initializer="zeros", trainable=False, **options)
        self.high = self.add_weight(name="moving_high", initializer="ones", trainable=False, **options)
        self._elements = _size(input_shape)

    def twin(self, name: str, input_shape: Any) -> "FakeQuantize":
        """A second layer with this one's variables, as Keras cannot save a layer shared by two models.

        Once saved and loaded, each has its own; they are alike.
        """
        twin = FakeQuantize(self.bits, self.ranges, self.momentum, name=name)
        twin.log_scale, twin.zero_point = self.log_scale, self.zero_point
        twin.low, twin.high = self.low, self.high
        twin.observing, twin.kind = self.observing, self.kind
        twin._elements = _size(input_shape)
        twin.built = True
        return twin

    def span(self, low: float, high: float) -> None:
        """Sets the range."""
        self.low.assign(low)
        self.high.assign(high)
        scale, zero_point = grid_of(np.float32(low), np.float32(high), self.levels, symmetric=False)
        self.log_scale.assign(tf.math.log(scale))
        self.zero_point.assign(zero_point)

    @property
    def levels(self) -> Levels:
        """The levels."""
        return unsigned_levels(self.bits)

    def grid(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The current scale and zero point."""
        if self.ranges == "learned":
            return tf.exp(self.log_scale.value), tf.convert_to_tensor(self.zero_point.value)
        return grid_of(self.low.value, self.high.value, self.levels, symmetric=False)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Rounds `inputs`."""
        if self.observing:
            return inputs
        x = tf.cast(inputs, tf.float32)
        if training and self.ranges == "moving_average":
            self._follow(self.low, tf.reduce_min(x))
            self._follow(self.high, tf.reduce_max(x))
        scale, zero_point = self.grid()
        if training:
            factor = 1 / np.sqrt(self._elements * self.levels.high)
            rounded = fake_quantize(x, scaled_gradient(scale, factor), zero_point, self.levels)
        elif self.bits == LITERT_BITS:
            # The converter knows this operation and takes its range for the tensor's.
            rounded = tf.quantization.fake_quant_with_min_max_vars(
                x, -zero_point * scale, (self.levels.high - zero_point) * scale, num_bits=self.bits
            )
        else:
            rounded = fake_quantize(x, scale, zero_point, self.levels)
        return tf.cast(rounded, inputs.dtype)

    def _follow(self, end: Any, now: tf.Tensor) -> None:
        end.assign(self.momentum * end.value + (1 - self.momentum) * tf.stop_gradient(now))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What makes the layer anew."""
        own = {"bits": self.bits, "ranges": self.ranges, "momentum": self.momentum}
        return {**super().get_config(), **own}


def _size(shape: Any) -> int:
    """How many values an example has."""
    return int(np.prod([size or 1 for size in shape[1:]]))
