"""Trains a model whose weights are rounded to levels in every step, the whole ones kept beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from pocketkube.packing import Form, Grid, decode
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.groups import Groups
from pocketkube.quantization.levels import Levels, fake_quantize, grid_of, scaled_gradient
from pocketkube.spec.schema import QuantizeWeights
from pocketkube.training.method import Method


@dataclass(frozen=True)
class QuantizedKernel:
    """A kernel and the levels that it is rounded to.

    Attributes:
        kernel: The variable; whole until training has ended.
        groups: Which weights share a scale.
        bits: Bits of a weight.
        levels: The levels.
        symmetric: Whether 0 is the level 0.
        log_scale: Logarithms of the scales `[groups]`; where they are not learned and follow the
            weights' extremes, None.
        zero_point: The levels of 0 `[groups]`.
        bias: The layer's bias, or None.
        fed_by: What rounds the layer's input, or None.
    """

    kernel: Any
    groups: Groups
    bits: int
    levels: Levels
    symmetric: bool
    log_scale: keras.Variable | None
    zero_point: keras.Variable
    bias: Any = None
    fed_by: FakeQuantize | None = None

    @classmethod
    def calibrated(
        cls,
        kernel: Any,
        groups: Groups,
        bits: int,
        levels: Levels,
        low: np.ndarray,
        high: np.ndarray,
        settings: QuantizeWeights,
        bias: Any,
        fed_by: FakeQuantize | None,
    ) -> Self:
        """Levels that span a range for each group, `low` to `high`."""
        symmetric = settings.scheme == "symmetric"
        scale, zero_point = grid_of(low, high, levels, symmetric)
        learned = settings.ranges == "learned"
        # Extremes are followed only where they are what was asked for.
        follows = not learned and settings.calibration == "minmax"
        log_scale = None if follows else keras.Variable(tf.math.log(scale), trainable=learned)
        zero = keras.Variable(zero_point, trainable=False)
        return cls(kernel, groups, bits, levels, symmetric, log_scale, zero, bias, fed_by)

    def grid(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Scales and zero points as they are, `[groups]`."""
        if self.log_scale is not None:
            return tf.exp(self.log_scale.value), self.zero_point.value
        values = tf.stop_gradient(self.groups.split(self.kernel.value))
        low, high = tf.reduce_min(values, axis=0), tf.reduce_max(values, axis=0)
        return grid_of(low, high, self.levels, self.symmetric)

    def form(self) -> Grid:
        """The kernel as levels and what they stand for."""
        scale, zero_point = self.grid()
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

    def rounded_bias(self) -> tf.Tensor | None:
        """The bias in whole steps of input times weight, as integer kernels add it; None for none."""
        if self.bias is None or self.fed_by is None or not self.symmetric:
            return None
        if self.groups.granularity == "bucket":
            return None
        step = self.fed_by.grid()[0] * self.grid()[0]
        return tf.round(self.bias.value / step) * step

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
        settings: What tells this course from another.
    """

    def __init__(self, kernels: Sequence[QuantizedKernel], settings: QuantizeWeights) -> None:
        self.told = settings.model_dump_json()
        self.kernels = kernels
        scales = [each.log_scale for each in kernels if each.log_scale is not None]
        learned = settings.ranges == "learned"
        self.trained = scales if learned else []
        self.variables = [*([] if learned else scales), *(each.zero_point for each in kernels)]

    def replaced(self) -> Sequence[tuple[Any, Any]]:
        """The rounded kernels."""
        return [(each.kernel, each.rounded()) for each in self.kernels]

    def finish(self) -> None:
        """The rounded weights and biases are the model's from here on."""
        for each in self.kernels:
            bias = each.rounded_bias()
            if bias is not None:
                each.bias.assign(bias)
            each.kernel.assign(decode(each.form()))

    @property
    def forms(self) -> Mapping[str, Form]:
        """Each kernel's levels, by the kernel's path."""
        return {each.kernel.path: each.form() for each in self.kernels}
