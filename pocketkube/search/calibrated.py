"""A model on levels whose bits change from trial to trial: what does not follow from them is kept."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from pocketkube.data.dataset import Arrays
from pocketkube.quantization.aware import QuantizationAware
from pocketkube.quantization.correction import correct_biases
from pocketkube.quantization.quantize import (
    insert_roundings,
    kernel_ends,
    kernels_with_ends,
    quantize,
    span_roundings,
)
from pocketkube.spec.sections import QuantizeWeights

# What a search may give a layer.
ALL_BITS = range(2, 9)


@dataclass(frozen=True)
class Ranges:
    """What weights and activations span, which does not depend on what bits others have.

    Attributes:
        activations: Lower and upper end of each rounding, `[roundings, 2]`.
        kernels: Of a kernel, by its name and bits, the ends of each group of weights, `[2, groups]`.
    """

    activations: np.ndarray
    kernels: Mapping[tuple[str, int], np.ndarray]


def find_ranges(
    model: keras.Model, settings: QuantizeWeights, calibration: Arrays, seed: int
) -> Ranges:
    """Finds the ranges of a model at all bits; see `quantize` for the arguments."""
    whole = settings.model_copy(update={"bias_correction": False})
    prepared = quantize(model, whole, calibration, seed).prepared
    return Ranges(
        np.array([[float(each.low), float(each.high)] for each in prepared.roundings]).reshape(-1, 2),
        {
            (name, bits): ends
            for bits in ALL_BITS
            for name, ends in kernel_ends(prepared, settings, bits).items()
        },
    )


class CalibratedLevels:
    """A calibrated model whose layers are given bits, again and again.

    Biases are corrected for each choice, as they depend on all layers.

    Attributes:
        model: The model; `set_bits` changes its weights.

    Args:
        model: The trained model; it is left as it is.
        settings: Of quantize_weights.
        ranges: Of this model with these settings.
        calibration: Training examples, inputs alone.
    """

    def __init__(
        self, model: keras.Model, settings: QuantizeWeights, ranges: Ranges, calibration: Arrays
    ) -> None:
        self._settings, self._ranges, self._calibration = settings, ranges, calibration
        self._prepared = insert_roundings(model, settings)
        span_roundings(self._prepared, ranges.activations)
        self.model = self._prepared.model
        self._whole = [np.array(weight) for weight in self.model.weights]

    def set_bits(self, bits: Mapping[str, int]) -> None:
        """Puts the weights on levels, as `quantize` and its method's `finish` do.

        Args:
            bits: Of each layer, by its name; others have what the settings give them.
        """
        for weight, value in zip(self.model.weights, self._whole, strict=True):
            weight.assign(value)
        settings = self._settings.model_copy(update={"layers": dict(bits)})
        kernels = list(kernels_with_ends(self._prepared, settings, self._ranges.kernels))
        method = QuantizationAware(kernels, settings, self._prepared)
        if settings.bias_correction:
            correct_biases(self._prepared, method, self._calibration)
        method.finish()
