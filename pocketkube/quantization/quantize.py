"""Post-training quantisation: inserts roundings, calibrates ranges and corrects biases."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.dataset import Arrays
from pocketkube.errors import UserError
from pocketkube.graph.compile_settings import compile_like
from pocketkube.graph.inputs import refuse_other_examples
from pocketkube.graph.kernels import Kernel, kernels_of
from pocketkube.graph.names import named_layers
from pocketkube.graph.paths import is_within
from pocketkube.graph.replay import replay
from pocketkube.number_formats import LITERT_BITS
from pocketkube.quantization.aware import QuantizationAware, QuantizedKernel
from pocketkube.quantization.correction import correct_biases
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.groups import Groups
from pocketkube.quantization.insertion import Prepared, prepare
from pocketkube.quantization.levels import Levels, signed_levels, unsigned_levels
from pocketkube.quantization.ranges import find_range
from pocketkube.spec.sections import FLOAT, QuantizeWeights

BATCH_SIZE, MOST_VALUES = 64, 2**18
MOST_BITS = 8
FIXED_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


@dataclass(frozen=True)
class Quantized:
    """A quantised model.

    Attributes:
        model: `FakeQuantize` layers round its activations, `method` its weights.
        method: What trains it; `method.finish()` puts the rounded weights into the model.
        prepared: How the layers of the original and of `model` correspond.
    """

    model: keras.Model
    method: QuantizationAware
    prepared: Prepared


def quantize(
    model: keras.Model, settings: QuantizeWeights, calibration: Arrays, seed: int
) -> Quantized:
    """Quantises a model's weights and activations as far as that goes without training.

    BatchNorm is folded first, so that what is calibrated is what is deployed (Nagel et al., 2021).
    In training `method` lets it go on with the statistics of batches, where these are of enough rows.

    Args:
        model: A trained functional model; it is left as it is.
        settings: Bits, groups and ranges.
        calibration: Training examples, an array `[N, ...]` for each input.
        seed: For the sample of values that ranges are chosen from, where there are too many values.

    Returns:
        The quantised model, compiled as `model` is, where that is.

    Raises:
        UserError: If there is nothing to quantise, `settings` names a layer that is not there, or the
            examples do not fit the model's inputs.
    """
    if seed < 0:
        raise UserError(f"quantize: seed has to be at least 0; received {seed}.")
    refuse_other_examples(model, calibration)
    prepared = insert_roundings(model, settings)
    kernels = list(kernels_with_ends(prepared, settings, {}))
    method = QuantizationAware(kernels, settings, prepared)
    _calibrate(prepared, settings, calibration, np.random.default_rng(seed))
    if settings.bias_correction:
        correct_biases(prepared, method, calibration)
    compile_like(prepared.model, model)
    return Quantized(prepared.model, method, prepared)


def _rounding(settings: QuantizeWeights) -> Callable[[str, str], FakeQuantize] | None:
    bits = settings.activation_bits
    if bits == FLOAT:
        return None

    def rounding(name: str, kind: str) -> FakeQuantize:
        ranges = "fixed" if kind in FIXED_RANGES else settings.ranges
        layer = FakeQuantize(bits, ranges, name=name)
        layer.observing, layer.kind = True, kind
        return layer

    return rounding


# The ends of each group's range `[2, groups]`, by a kernel's name and bits.
Ends = Mapping[tuple[str, int], np.ndarray]


def kernel_ends(prepared: Prepared, settings: QuantizeWeights, bits: int) -> dict[str, np.ndarray]:
    """The range of each kernel's weights as they are, at so many bits, by its name; see `Ends`."""
    return {
        kernel.path: np.stack(_ends(kernel, settings, bits)) for kernel in kernels_of(prepared.model)
    }


def kernels_with_ends(
    prepared: Prepared, settings: QuantizeWeights, ends: Ends
) -> Iterator[QuantizedKernel]:
    """The kernels of a model to quantise, each with levels that span its range.

    Args:
        prepared: The model.
        settings: Bits and groups.
        ends: The ranges that are known; others are found.

    Raises:
        UserError: If there are no kernels, or `settings` names a layer that is not there.
    """
    model = prepared.model
    found = list(kernels_of(model))
    if not found:
        raise UserError(f"{model.name} has no dense layer or convolution that could be quantised.")
    bits = _bits_by_layer([kernel.layer for kernel in found], prepared.elementwise, settings)
    for kernel in found:
        count = bits[kernel.layer]
        known = ends.get((kernel.path, count))
        low, high = _ends(kernel, settings, count) if known is None else known
        yield QuantizedKernel.calibrated(
            kernel,
            _groups(kernel, settings),
            count,
            _levels(settings, count),
            low,
            high,
            settings,
            prepared.input_quantizers.get(id(kernel.owner)),
        )


def insert_roundings(model: keras.Model, settings: QuantizeWeights) -> Prepared:
    """The model to quantise, its roundings not calibrated yet; see `quantize`."""
    return prepare(model, _rounding(settings))


def span_roundings(prepared: Prepared, ends: np.ndarray) -> None:
    """Gives the roundings ranges that were found before.

    Args:
        prepared: The model; its roundings are changed in place.
        ends: The lower and the upper end of each, `[roundings, 2]`.
    """
    for layer, (low, high) in zip(prepared.roundings, ends.tolist(), strict=True):
        layer.span(low, high)
    _stop_observing(prepared)


def _groups(kernel: Kernel, settings: QuantizeWeights) -> Groups:
    shape = tuple(kernel.variable.shape)
    return Groups(shape, kernel.axes, settings.granularity, settings.bucket_size)


def _levels(settings: QuantizeWeights, bits: int) -> Levels:
    return signed_levels(bits) if settings.scheme == "symmetric" else unsigned_levels(bits)


def _ends(kernel: Kernel, settings: QuantizeWeights, bits: int) -> tuple[np.ndarray, np.ndarray]:
    values = _groups(kernel, settings).split(kernel.variable).numpy()
    symmetric = settings.scheme == "symmetric"
    return find_range(values, _levels(settings, bits), symmetric, settings.calibration)


def _bits_by_layer(
    paths: list[str], elementwise: Collection[str], settings: QuantizeWeights
) -> dict[str, int]:
    bits = dict.fromkeys(paths, settings.weight_bits)
    mixing = [path for path in paths if path not in elementwise]
    for end in mixing[:1] + mixing[-1:]:
        bits[end] = settings.first_last_bits
    # One weight for each channel: fewer bits would save nothing.
    bits |= dict.fromkeys(elementwise, MOST_BITS)
    # Of two that hold for a layer, the longer name is that of the layer inside.
    for name in sorted(settings.layers, key=len):
        meant = [path for path in paths if is_within(path, name)]
        if not meant:
            raise UserError(
                f"layers: {name} is no layer that is quantised; there are: {', '.join(paths)}."
            )
        bits |= dict.fromkeys(meant, settings.layers[name])
    return bits


def _calibrate(
    prepared: Prepared, settings: QuantizeWeights, calibration: Arrays, rng: np.random.Generator
) -> None:
    """Sets the roundings' ranges by what goes through them."""
    if not prepared.roundings:
        return
    seen = _observe(prepared, calibration, rng)
    for layer in prepared.roundings:
        if layer.kind in FIXED_RANGES:
            low, high = FIXED_RANGES[layer.kind]
            # LiteRT's integer kernels leave the uppermost end out, to have a power of two.
            high -= (high - low) / 2**LITERT_BITS if layer.bits == LITERT_BITS else 0.0
        else:
            ends = find_range(seen[id(layer)], layer.levels, False, settings.calibration)
            low, high = (float(end[0]) for end in ends)
        layer.span(low, high)
    _stop_observing(prepared)


def _stop_observing(prepared: Prepared) -> None:
    for _, layer in named_layers(prepared.model):
        if isinstance(layer, FakeQuantize):
            layer.observing = False


def _observe(
    prepared: Prepared, calibration: Arrays, rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """What goes through each rounding, `[values, 1]`: all of it, or a sample with both extremes."""
    seen: dict[int, list[np.ndarray]] = {id(layer): [] for layer in prepared.roundings}
    examples = len(calibration[0])
    share = MOST_VALUES * BATCH_SIZE // max(examples, 1)

    def look(path: str, op: Any, tensors: list[Any]) -> list[Any]:
        if id(op) in seen:
            flat = np.asarray(tensors[0], np.float32).ravel()
            if len(flat) > share:
                chosen = flat[rng.integers(0, len(flat), share)]
                flat = np.append(chosen, [flat.min(), flat.max()]).astype(np.float32)
            seen[id(op)].append(flat)
        return tensors

    for start in range(0, examples, BATCH_SIZE):
        replay(prepared.model, [tf.constant(x[start : start + BATCH_SIZE]) for x in calibration], look)
    return {key: np.concatenate(found)[:, None] for key, found in seen.items()}
