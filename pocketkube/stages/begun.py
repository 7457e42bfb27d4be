"""What each training stage begins with: its model, the method that takes part, and notes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import keras

from pocketkube.clustering import Clustering
from pocketkube.data.dataset import Arrays
from pocketkube.deploy.integers import FOUR_BITS
from pocketkube.graph.kernels import Kernel, frozen_kernels, kernels_of, layers_without_kernels
from pocketkube.graph.unwrapping import SPECTRAL, spectral_note, unwrapped
from pocketkube.number_formats import LITERT_BITS
from pocketkube.quantization.insertion import Prepared
from pocketkube.quantization.quantize import quantize
from pocketkube.sparsity import GradualSparsification, KeptZeros
from pocketkube.sparsity.selection import depthwise_note, sparsifiable
from pocketkube.spec.sections import FLOAT, ClusterWeights, QuantizeWeights, SparsifyWeights
from pocketkube.stages.formats import are_known, file_format
from pocketkube.training.method import CombinedMethod, Method


@dataclass(frozen=True)
class Begun:
    """What is about to be trained.

    Attributes:
        model: The model; training changes it in place.
        method: What takes part in its training.
        notes: Sentences for the user.
        renamed: Where it was rebuilt: see `FromTeachers`.
        folded: Layers that others have taken up, by their paths, and the paths of those.
    """

    model: keras.Model
    method: Method
    notes: Sequence[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    folded: Mapping[str, str] = field(default_factory=dict)


def begin_fine_tuning(model: keras.Model, *, keeps_zeros: bool) -> Begun:
    """A model to train on.

    Args:
        model: The model, which training changes.
        keeps_zeros: Whether weights that are zero stay so.
    """
    return Begun(model, KeptZeros(model) if keeps_zeros else Method())


def begin_sparsifying(model: keras.Model, settings: SparsifyWeights) -> Begun:
    """A model whose weights are to become zero, which training changes."""
    notes = [
        *depthwise_note(model),
        *_left_whole(model, "stay dense"),
        *_frozen(model, sparsifiable(model), "become sparse, too; what is left of them is not trained"),
    ]
    return Begun(model, GradualSparsification(model, settings), notes)


def begin_clustering(model: keras.Model, settings: ClusterWeights) -> Begun:
    """A model whose kernels are to take a few values each, which training changes."""
    # That layer sets its weights in each step, and computes with others than the codebooks' then.
    whole = unwrapped(model, SPECTRAL)
    notes = [*spectral_note(model), *_left_whole(whole, "keep their values")]
    if settings.epochs != 0:
        notes += _frozen(whole, kernels_of(whole), "take few values, too, which are not trained")
    return Begun(whole, Clustering(whole, settings), notes)


def begin_quantizing(
    model: keras.Model,
    settings: QuantizeWeights,
    calibration: Arrays,
    seed: int,
    *,
    keeps_zeros: bool,
) -> Begun:
    """A calibrated copy of a model whose weights and activations are to stand on levels.

    Args:
        model: The model; it is left as it is.
        settings: Bits, groups and ranges.
        calibration: Training examples, an array `[N, ...]` for each input.
        seed: See `quantize`.
        keeps_zeros: Whether weights that are zero stay so.
    """
    quantized = quantize(model, settings, calibration, seed)
    method: Method = quantized.method
    if keeps_zeros:
        method = CombinedMethod([KeptZeros(quantized.model), method])
    prepared = quantized.prepared
    notes = [*_notes(settings), *spectral_note(model), *_notes_on(prepared)]
    if settings.epochs != 0:
        kernels = [k for k in kernels_of(quantized.model) if k.layer not in prepared.elementwise]
        notes += _frozen(quantized.model, kernels, "are rounded, too, by scales that are not trained")
    return Begun(quantized.model, method, notes, prepared.renamed, prepared.folded)


def _notes(settings: QuantizeWeights) -> list[str]:
    """What became of the numbers, and what the file holds of it."""
    activations = (
        "activations are floats"
        if settings.activation_bits == FLOAT
        else f"activations have {settings.activation_bits} bits"
    )
    shared = {"tensor": "layer", "channel": "channel", "bucket": f"{settings.bucket_size} weights"}
    own = f"; {len(settings.layers)} layers have their own" if settings.layers else ""
    notes = [
        f"Weights have {settings.weight_bits} bits ({settings.first_last_bits} in the first and the "
        f"last layer{own}), one scale for each {shared[settings.granularity]}; {activations}."
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
    return [*notes, *_left_whole(prepared.model, "stay floats")]


def _left_whole(model: keras.Model, how: str) -> list[str]:
    """A sentence on layers whose weights no method of compression knows."""
    names = layers_without_kernels(model)
    return [f"Weights of these layers {how}: {', '.join(names)}."] if names else []


def _frozen(model: keras.Model, kernels: Iterable[Kernel], how: str) -> list[str]:
    """A sentence on layers that are compressed without being trained, and how many of all that is."""
    layers = {kernel.path: kernel.layer for kernel in kernels}
    frozen = {layers[k.path] for k in frozen_kernels(model) if k.path in layers}
    total = len(set(layers.values()))
    return [f"Frozen layers {how}: {len(frozen)} of {total}."] if frozen else []


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
