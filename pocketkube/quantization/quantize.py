"""Prepares a trained model for levels: calibrated, its biases corrected, ready to be trained on."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from pocketkube.data.dataset import Arrays
from pocketkube.errors import UserError
from pocketkube.graph.inputs import refuse_other_examples
from pocketkube.graph.kernels import kernels_of
from pocketkube.quantization.aware import QuantizationAware, QuantizedKernel
from pocketkube.quantization.correction import correct_biases
from pocketkube.quantization.fake_quantize import LITERT_BITS, FakeQuantize
from pocketkube.quantization.groups import Groups
from pocketkube.quantization.insertion import Prepared, prepare
from pocketkube.quantization.levels import signed_levels, unsigned_levels
from pocketkube.quantization.ranges import find_range
from pocketkube.spec.schema import FLOAT, QuantizeWeights

BATCH, SEEN = 64, 2**18
MOST_BITS = 8
FIXED_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


@dataclass(frozen=True)
class Quantized:
    """A model on levels.

    Attributes:
        model: Its activations are rounded by layers of its own, its weights by `method`.
        method: What trains it; `method.finish()` puts the rounded weights into the model.
        renamed: For each layer of the given model, by its path, the name of the one in its place.
    """

    model: keras.Model
    method: QuantizationAware
    renamed: Mapping[str, str]


def quantize(
    model: keras.Model, settings: QuantizeWeights, calibration: Arrays, seed: int
) -> Quantized:
    """Quantises a model's weights and activations as far as that goes without training.

    BatchNorm is folded first, so that what is calibrated and trained is what is deployed (static
    folding, Nagel et al., 2021).

    Args:
        model: A trained functional model; it is left as it is.
        settings: Bits, groups and ranges.
        calibration: Training examples, an array `[N, ...]` for each input.
        seed: Of the values that a range is chosen by, where there are too many.

    Returns:
        The quantised model.

    Raises:
        UserError: If there is nothing to quantise, `settings` names a layer that is not there, or the
            examples are none for this model.
    """
    if seed < 0:
        raise UserError(f"quantize: seed has to be at least 0; received {seed}.")
    refuse_other_examples(model, calibration)
    prepared = prepare(model, _rounding(settings))
    kernels = list(_kernels(prepared, settings))
    method = QuantizationAware(kernels, settings)
    _calibrate(prepared, settings, calibration, np.random.default_rng(seed))
    if settings.bias_correction:
        correct_biases(prepared, method, calibration)
    return Quantized(prepared.model, method, prepared.renamed)


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


def _kernels(prepared: Prepared, settings: QuantizeWeights) -> Iterator[QuantizedKernel]:
    model = prepared.model
    found = list(kernels_of(model))
    biases = {layer.path: getattr(layer, "bias", None) for layer in model._flatten_layers()}
    if not found:
        raise UserError(f"{model.name} has no dense layer or convolution that could be quantised.")
    bits = _bits_by_layer([kernel.layer for kernel in found], prepared.elementwise, settings)
    symmetric = settings.scheme == "symmetric"
    for kernel in found:
        variable, count = kernel.variable, bits[kernel.layer]
        groups = Groups(tuple(variable.shape), kernel.axes, settings.granularity, settings.bucket_size)
        levels = signed_levels(count) if symmetric else unsigned_levels(count)
        low, high = find_range(groups.split(variable).numpy(), levels, symmetric, settings.calibration)
        yield QuantizedKernel.calibrated(
            variable,
            groups,
            count,
            levels,
            low,
            high,
            settings,
            biases[kernel.layer],
            prepared.feeding.get(kernel.layer),
        )


def _bits_by_layer(
    paths: list[str], elementwise: Collection[str], settings: QuantizeWeights
) -> dict[str, int]:
    for name in settings.layers:
        if name not in paths:
            raise UserError(
                f"layers: {name} is no layer that is quantised; there are: {', '.join(paths)}."
            )
    bits = dict.fromkeys(paths, settings.weight_bits)
    mixing = [path for path in paths if path not in elementwise]
    for end in mixing[:1] + mixing[-1:]:
        bits[end] = settings.first_last_bits
    # One weight for each channel: fewer bits would save nothing.
    bits |= dict.fromkeys(elementwise, MOST_BITS)
    return bits | dict(settings.layers)


def _calibrate(
    prepared: Prepared, settings: QuantizeWeights, calibration: Arrays, rng: np.random.Generator
) -> None:
    """Sets the roundings' ranges by what goes through them."""
    if not prepared.roundings:
        return
    seen = _observe(prepared, calibration, rng)
    for (layer, _), values in zip(prepared.roundings, seen, strict=True):
        if layer.kind in FIXED_RANGES:
            low, high = FIXED_RANGES[layer.kind]
            # LiteRT's integer kernels leave the uppermost end out, to have a power of two.
            high -= (high - low) / 2**LITERT_BITS if layer.bits == LITERT_BITS else 0.0
        else:
            ends = find_range(values, layer.levels, False, settings.calibration)
            low, high = (float(end[0]) for end in ends)
        layer.span(low, high)
        layer.observing = False


def _observe(prepared: Prepared, calibration: Arrays, rng: np.random.Generator) -> list[np.ndarray]:
    """What goes through each rounding, `[values, 1]`: all of it, or a sample with both extremes."""
    tensors = [tensor for _, tensor in prepared.roundings]
    watcher = keras.Model(prepared.model.inputs, tensors)
    examples = len(calibration[0])
    share = SEEN * BATCH // max(examples, 1)
    seen: list[list[np.ndarray]] = [[] for _ in tensors]
    for start in range(0, examples, BATCH):
        given = [x[start : start + BATCH] for x in calibration]
        for found, values in zip(seen, watcher(given, training=False), strict=True):
            flat = np.asarray(values, np.float32).ravel()
            if len(flat) > share:
                chosen = flat[rng.integers(0, len(flat), share)]
                flat = np.append(chosen, [flat.min(), flat.max()]).astype(np.float32)
            found.append(flat)
    return [np.concatenate(found)[:, None] for found in seen]
