"""Quantisation-aware training: every step computes with rounded weights and updates the float ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from pocketkube.graph.kernels import Kernel
from pocketkube.packing import Form, Grid, decode
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.groups import Groups
from pocketkube.quantization.levels import Levels, fake_quantize, grid_of, scaled_gradient
from pocketkube.spec.sections import QuantizeWeights
from pocketkube.training.method import Method


@dataclass(frozen=True)
class QuantizedKernel:
    """A kernel and the levels that it is rounded to.

    Attributes:
        name: The kernel's, as in left/conv/kernel.
        kernel: The variable; it holds float values until training has ended.
        groups: Which weights share a scale.
        bits: Bits of a weight.
        levels: The levels.
        symmetric: Whether the zero points are 0.
        log_scale: Logarithms of the scales `[groups]`, trained where they are learned and the kernel
            is not frozen; where they are not learned and follow the weights' extremes, None.
        zero_point: The level that stands for 0, of each group `[groups]`.
        bias: The layer's bias, or None.
        input_quantizer: The layer that rounds this layer's input, or None.
    """

    name: str
    kernel: Any
    groups: Groups
    bits: int
    levels: Levels
    symmetric: bool
    log_scale: keras.Variable | None
    zero_point: keras.Variable
    bias: Any = None
    input_quantizer: FakeQuantize | None = None

    @classmethod
    def calibrated(
        cls,
        kernel: Kernel,
        groups: Groups,
        bits: int,
        levels: Levels,
        low: np.ndarray,
        high: np.ndarray,
        settings: QuantizeWeights,
        input_quantizer: FakeQuantize | None,
    ) -> Self:
        """Levels that span a range for each group, `low` to `high`."""
        symmetric = settings.scheme == "symmetric"
        scale, zero_point = grid_of(low, high, levels, symmetric)
        learned = settings.ranges == "learned"
        # Extremes are followed only where they are what was asked for.
        follows = not learned and settings.calibration == "minmax"
        log_scale = (
            None
            if follows
            else keras.Variable(tf.math.log(scale), trainable=learned and kernel.variable.trainable)
        )
        zero = keras.Variable(zero_point, trainable=False)
        return cls(
            kernel.path,
            kernel.variable,
            groups,
            bits,
            levels,
            symmetric,
            log_scale,
            zero,
            getattr(kernel.owner, "bias", None),
            input_quantizer,
        )

    def grid(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The current scales and zero points, `[groups]`."""
        if self.log_scale is not None:
            return tf.exp(self.log_scale.value), self.zero_point.value
        values = tf.stop_gradient(self.groups.split(self.kernel.value))
        low, high = tf.reduce_min(values, axis=0), tf.reduce_max(values, axis=0)
        return grid_of(low, high, self.levels, self.symmetric)

    def finalize(self) -> Grid:
        """Replaces kernel and bias by their rounded values, at the end of training.

        Returns:
            The kernel's levels, scales and zero points.
        """
        scale, zero_point = self.grid()
        if self.bias is not None and self.input_quantizer is not None and self._has_integer_kernel:
            scale = self._finalize_bias(self.bias, self.input_quantizer.grid()[0], scale)
        form = self._form(scale, zero_point)
        self.kernel.assign(decode(form))
        return form

    @property
    def _has_integer_kernel(self) -> bool:
        """Whether LiteRT's integer kernels multiply by such weights."""
        return self.symmetric and self.groups.granularity != "bucket"

    def _finalize_bias(self, bias: Any, input_step: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """Rounds the bias to whole steps of input times weight, as integer kernels add it.

        Returns:
            The scales, widened where those steps would be too many. What the weights add is then
            less than a thousandth of the bias.
        """
        size = tf.abs(bias.value)
        size = tf.reduce_max(size, keepdims=True) if self.groups.granularity == "tensor" else size
        scale = tf.maximum(scale, size / (input_step * MOST_STEPS))
        step = input_step * scale
        bias.assign(tf.round(bias.value / step) * step)
        return scale

    def _form(self, scale: tf.Tensor, zero_point: tf.Tensor) -> Grid:
        levels = tf.round(self.groups.split(self.kernel.value) / scale) + zero_point
        levels = tf.clip_by_value(levels, self.levels.low, self.levels.high)
        zeros = self.groups.join(levels == zero_point).numpy()
        return Grid(
            self.bits,
            scale.numpy(),
            self.groups.join(levels).numpy().astype(np.int16),
            None if self.symmetric else zero_point.numpy(),
            self.groups.blocks,
            # Where zeros take more than a bit for each weight, they are better marked than stored.
            ~zeros if zeros.sum() * self.bits > zeros.size else None,
        )

    def rounded(self) -> tf.Tensor:
        """The kernel's values on the levels."""
        values = self.groups.split(self.kernel.value)
        scale, zero_point = self.grid()
        # A scale is moved by all of its weights: Esser et al. divide by the root of their number.
        factor = 1 / np.sqrt(int(values.shape[0]) * max(self.levels.high, 1))
        on_levels = fake_quantize(values, scaled_gradient(scale, factor), zero_point, self.levels)
        return self.groups.join(on_levels)


class QuantizationAware(Method):
    """Quantisation-aware training with the straight-through estimator (Jacob et al., 2018).

    Args:
        kernels: The kernels to round.
        settings: Bits, groups and ranges; they are the method's fingerprint.
    """

    def __init__(self, kernels: Sequence[QuantizedKernel], settings: QuantizeWeights) -> None:
        self.fingerprint = settings.model_dump_json()
        self.kernels = kernels
        scales = [each.log_scale for each in kernels if each.log_scale is not None]
        self.trained = [scale for scale in scales if scale.trainable]
        fixed = [scale for scale in scales if not scale.trainable]
        self.variables = [*fixed, *(each.zero_point for each in kernels)]
        self._forms: Mapping[str, Form] = {}

    def replaced(self) -> Sequence[tuple[Any, Any]]:
        """The rounded kernels."""
        return [(each.kernel, each.rounded()) for each in self.kernels]

    def finish(self) -> None:
        """The rounded weights and biases are the model's from here on."""
        self._forms = {each.name: each.finalize() for each in self.kernels}

    @property
    def forms(self) -> Mapping[str, Form]:
        """Each kernel's levels once training has ended, by the kernel's name."""
        return self._forms


# A bias may take half of what 32 bits hold, the rest is for sums; and XNNPACK's kernels for 4 bits
# compute with sixteen times as much.
MOST_STEPS = 2.0**26
