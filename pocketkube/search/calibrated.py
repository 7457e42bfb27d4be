"""A model on levels whose bits change from trial to trial: what does not follow from them is kept."""

from collections.abc import Mapping

import keras
import numpy as np

from pocketkube.data.dataset import Arrays
from pocketkube.graph.paths import is_within
from pocketkube.quantization.aware import QuantizationAware, QuantizedKernel
from pocketkube.quantization.correction import correct_biases
from pocketkube.quantization.quantize import quantize, quantized_kernels
from pocketkube.spec.sections import QuantizeWeights


class CalibratedLevels:
    """A calibrated model whose layers are given bits, again and again.

    Activations' ranges follow from the whole weights, and are found once; those of a layer's weights
    once for each number of bits. Biases are corrected for each choice, as they depend on all layers.

    Attributes:
        model: The model; `set_bits` changes its weights.

    Args:
        model: The trained model; it is left as it is.
        settings: Of quantize_weights.
        calibration: Training examples, inputs alone.
        seed: See `quantize`.
    """

    def __init__(
        self, model: keras.Model, settings: QuantizeWeights, calibration: Arrays, seed: int
    ) -> None:
        self._settings, self._calibration = settings, calibration
        self._prepared = quantize(
            model, settings.model_copy(update={"bias_correction": False}), calibration, seed
        ).prepared
        self.model = self._prepared.model
        self._whole = [np.array(weight) for weight in self.model.weights]
        self._kernels: dict[int, list[QuantizedKernel]] = {}

    def set_bits(self, bits: Mapping[str, int]) -> None:
        """Puts the weights on levels, as `quantize` and its method's `finish` do.

        Args:
            bits: Of each layer, by its name; others have what the settings give them.
        """
        for weight, value in zip(self.model.weights, self._whole, strict=True):
            weight.assign(value)
        kernels = list(self._with_bits(0, {}))
        for number, default in enumerate(kernels):
            meant = [name for name in bits if is_within(_layer_of(default), name)]
            if meant:
                count = bits[max(meant, key=len)]
                kernels[number] = self._with_bits(count, bits)[number]
        method = QuantizationAware(kernels, self._settings)
        if self._settings.bias_correction:
            correct_biases(self._prepared, method, self._calibration)
        method.finish()

    def _with_bits(self, count: int, layers: Mapping[str, int]) -> list[QuantizedKernel]:
        """The kernels where layers have so many bits; as the settings say for 0. Weights are whole."""
        if count not in self._kernels:
            settings = self._settings.model_copy(update={"layers": dict.fromkeys(layers, count)})
            self._kernels[count] = list(quantized_kernels(self._prepared, settings))
        return self._kernels[count]


def _layer_of(kernel: QuantizedKernel) -> str:
    return kernel.name.rpartition("/")[0]
