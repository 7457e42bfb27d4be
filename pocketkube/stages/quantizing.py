"""The stage that puts weights and activations on evenly spaced levels."""

from collections.abc import Mapping
from pathlib import Path

from pocketkube.bundle import Bundle
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Dataset
from pocketkube.deploy.integers import FOUR_BITS
from pocketkube.graph.unwrapping import spectral_note
from pocketkube.quantization.fake_quantize import LITERT_BITS
from pocketkube.quantization.insertion import Prepared
from pocketkube.quantization.quantize import left_whole, quantize
from pocketkube.sparsity import KeptZeros
from pocketkube.spec.sections import FLOAT, QuantizeWeights
from pocketkube.stages.configs import QuantizeWeightsConfig
from pocketkube.stages.facts import is_sparse
from pocketkube.stages.formats import are_known, file_format
from pocketkube.stages.training import Begun, train_on
from pocketkube.training.method import CombinedMethod, Method


def quantize_weights(
    config: QuantizeWeightsConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Calibrates a model's levels, trains it with them, and writes the bundle of what it becomes."""
    settings = config.settings

    def begin(student: Bundle, dataset: Dataset) -> Begun:
        calibration, _ = materialize(dataset.train, settings.calibration_examples, config.seed)
        quantized = quantize(student.model, settings, calibration, config.seed)
        method: Method = quantized.method
        if is_sparse(student.facts):
            method = CombinedMethod([KeptZeros(quantized.model), method])
        prepared = quantized.prepared
        notes = [*_notes(settings), *spectral_note(student.model), *_notes_on(prepared)]
        return Begun(quantized.model, method, notes, prepared.renamed, prepared.folded)

    train_on(config, inputs, output, scratch, begin)


def _notes(settings: QuantizeWeights) -> list[str]:
    """What became of the numbers, and what the file holds of it."""
    activations = (
        "activations are floats"
        if settings.activation_bits == FLOAT
        else f"activations have {settings.activation_bits} bits"
    )
    shared = {"tensor": "layer", "channel": "channel", "bucket": f"{settings.bucket_size} weights"}
    notes = [
        f"Weights have {settings.weight_bits} bits ({settings.first_last_bits} in the first and the "
        f"last layer), one scale for each {shared[settings.granularity]}; {activations}."
    ]
    if settings.epochs == 0:
        notes.append("They were calibrated, not trained.")
    return [*notes, *_in_the_file(settings)]


def _notes_on(prepared: Prepared) -> list[str]:
    """What became of layers that are no longer there, or not on levels."""
    notes = []
    if prepared.folded:
        count = len(prepared.folded)
        notes.append(f"{count} BatchNormalization layers are folded into the weights before them.")
    if prepared.closed:
        notes.append(
            "Between the layers that are inside of these, activations are not rounded: "
            f"{', '.join(prepared.closed)}."
        )
    if whole := left_whole(prepared.model):
        notes.append(f"Weights of these layers stay floats: {', '.join(whole)}.")
    return notes


def _in_the_file(settings: QuantizeWeights) -> list[str]:
    """What is known before there is a file; how many kernels it holds how is said once there is."""
    numbers = file_format(settings).numbers
    if numbers == "float32" and settings.activation_bits not in (FLOAT, LITERT_BITS):
        return [
            f"LiteRT has no kernels for {settings.activation_bits}-bit activations: the file computes "
            "in floats, rounded as the model rounds them. The packed file is small."
        ]
    if numbers == "float32":
        return [
            "LiteRT has no kernels for such weights: the file holds them as floats. The packed file "
            "is small."
        ]
    if not are_known(settings):
        return [
            "LiteRT has no kernels for such weights: the file holds them rounded anew to 8 bits, one "
            "scale for each channel. The packed file is small."
        ]
    if min([settings.weight_bits, settings.first_last_bits, *settings.layers.values()]) <= FOUR_BITS:
        return [
            "The file holds weights of at most 4 bits in 4 bits where LiteRT computes with such. It "
            "unpacks them: the file is smaller, not faster, than one of 8 bits."
        ]
    return []
