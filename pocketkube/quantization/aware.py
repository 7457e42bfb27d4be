"""Quantisation-aware training: every step computes with rounded weights and updates the float ones."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from pocketkube.graph.kernels import Kernel
from pocketkube.packing import Form, Grid, decode
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.groups import Groups
from pocketkube.quantization.insertion import Prepared
from pocketkube.quantization.levels import Levels, fake_quantize, grid_of, scaled_gradient
from pocketkube.quantization.trained_norm import TrainedNorm, all_applied
from pocketkube.spec.sections import FLOAT, QuantizeWeights
from pocketkube.training.method import Method

# With fewer rows of a batch, or fewer bits, training with the statistics of batches did harm.
LEAST_ROWS, LEAST_BITS = 32, 8


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
        owner: The layer that has the kernel.
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
    owner: Any
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
            kernel.owner,
            input_quantizer,
        )

    def grid(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The current scales and zero points, `[groups]`."""
        if self.log_scale is not None:
            return tf.exp(self.log_scale.value), self.zero_point.value
        values = tf.stop_gradient(self.groups.split(self.kernel.value))
        low, high = tf.reduce_min(values, axis=0), tf.reduce_max(values, axis=0)
        return grid_of(low, high, self.levels, self.symmetric)

    def stretch(self, factor: Any) -> None:
        """Makes the scales those of a kernel that was multiplied, `factor` for each channel.

        Scales that follow the weights do so by themselves.
        """
        if self.log_scale is not None:
            self.log_scale.assign_add(tf.math.log(self.groups.of_channels(factor)))

    def finalize(self) -> Grid:
        """Replaces kernel and bias by their rounded values, at the end of training.

        Returns:
            The kernel's levels, scales and zero points.
        """
        scale, zero_point = self.grid()
        bias = getattr(self.owner, "bias", None)
        if bias is not None and self.input_quantizer is not None and self._has_integer_kernel:
            scale = self._finalize_bias(bias, self.input_quantizer.grid()[0], scale)
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
        prepared: The model that has them.
    """

    def __init__(
        self, kernels: Sequence[QuantizedKernel], settings: QuantizeWeights, prepared: Prepared
    ) -> None:
        self.fingerprint = settings.model_dump_json()
        # A folded model has no BatchNorm that would bring its channels back into proportion.
        self.rate = 0.1
        self.kernels, self._settings, self._prepared = kernels, settings, prepared
        self._norms: list[tuple[QuantizedKernel, TrainedNorm]] = []
        scales = [each.log_scale for each in kernels if each.log_scale is not None]
        self.trained: list[Any] = [scale for scale in scales if scale.trainable]
        fixed = [scale for scale in scales if not scale.trainable]
        self.variables: list[Any] = [*fixed, *(each.zero_point for each in kernels)]
        self._forms: Mapping[str, Form] = {}

    def begin(self, rows: int) -> None:
        """See `Method`; BatchNorm goes on where that was found to do good."""
        of_activations = self._settings.activation_bits
        bits = [each.bits for each in self.kernels]
        bits += [] if of_activations == FLOAT else [of_activations]
        if rows >= LEAST_ROWS and min(bits) >= LEAST_BITS:
            self.train_norms()

    def train_norms(self) -> None:
        """Has layers that took up a BatchNorm compute with it in training, as the network did before.

        Those whose channels share a scale cannot, nor those that are not trained.
        """
        for each in self.kernels:
            found = self._prepared.taken_up.get(id(each.owner))
            if found is None or each.groups.granularity == "tensor" or found.renorm:
                continue
            if not (found.trainable and each.owner.trainable):
                continue
            norm = TrainedNorm(each.owner, found, each.groups.channel_axes)
            each.stretch(1 / norm.first_factor)
            self._norms.append((each, norm))
            self.layers = [*self.layers, norm.norm]
            self.trained += norm.norm.trainable_variables
            self.variables += norm.norm.non_trainable_variables
        count, of = len(self._norms), self._prepared.norms
        # Where one is left to its old statistics, a higher rate may diverge.
        if count and count == of:
            self.rate = 0.3
        if count:
            self.notes = [
                f"{count} of {of} BatchNormalization layers went on with the statistics of batches "
                f"in training; by itself, its learning rate is {self.rate:g} of the section training's."
            ]

    def computing(self) -> AbstractContextManager[None]:
        """See `Method`."""
        return all_applied([norm for _, norm in self._norms])

    def replaced(self) -> Sequence[tuple[Any, Any]]:
        """The rounded kernels, and factors of BatchNorm that are not negative."""
        rounded = [(each.kernel, each.rounded()) for each in self.kernels]
        return [*rounded, *((norm.norm.gamma, norm.gamma()) for _, norm in self._norms)]

    def gradients(self, gradients: Sequence[Any], variables: Sequence[Any]) -> Sequence[Any]:
        """See `Method`; what a layer adds stays 0 where its BatchNorm takes off what is added."""
        held = {id(each.owner.bias) for each, _ in self._norms}
        pairs = zip(gradients, variables, strict=True)
        return [tf.zeros_like(g) if id(v) in held else g for g, v in pairs]

    def finish(self) -> None:
        """The rounded weights and biases are the model's from here on."""
        for each, norm in self._norms:
            each.stretch(norm.fold())
        self._forms = {each.name: each.finalize() for each in self.kernels}

    @property
    def forms(self) -> Mapping[str, Form]:
        """Each kernel's levels once training has ended, by the kernel's name."""
        return self._forms


# A bias may take half of what 32 bits hold, the rest is for sums; and XNNPACK's kernels for 4 bits
# compute with sixteen times as much.
MOST_STEPS = 2.0**26
