"""Foresees the file that a job will end in, from a model that its later stages have not seen yet."""

from collections.abc import Sequence

import keras
import numpy as np

from pocketkube.bundle import Bundle
from pocketkube.data.dataset import Arrays
from pocketkube.graph.surgery import copy_model
from pocketkube.quantization.quantize import quantize
from pocketkube.sparsity.distribution import layer_sparsities
from pocketkube.sparsity.patterns import mask_of
from pocketkube.sparsity.selection import sparsifiable
from pocketkube.spec.sections import QuantizeWeights, SparsifyWeights
from pocketkube.spec.stage_settings import StageSettings
from pocketkube.stages.export import converted
from pocketkube.stages.formats import last_format


def foreseen_file(stages: Sequence[StageSettings], pruned: keras.Model, examples: Arrays) -> bytes:
    """The LiteRT file of a pruned model after the stages that follow, without their training.

    Its size and speed are those of the trained one: they depend on how many weights are zero and on
    the bits of the others, not on their values.

    Args:
        stages: Settings of all of the job's stages.
        pruned: The model; it is left as it is.
        examples: Training examples, for ranges.
    """
    sparse = any(isinstance(settings, SparsifyWeights) for settings in stages)
    bundle = Bundle(copy_model(pruned) if sparse else pruned)
    for settings in stages:
        if isinstance(settings, SparsifyWeights):
            _make_sparse(bundle.model, settings)
        elif isinstance(settings, QuantizeWeights):
            bundle = _on_levels(bundle.model, settings, examples)
    wanted = last_format(stages)
    return converted(
        bundle, wanted, sparse=sparse, calibration=lambda count: tuple(x[:count] for x in examples)
    )


def _make_sparse(model: keras.Model, settings: SparsifyWeights) -> None:
    found = list(sparsifiable(model))
    values, axes = [np.asarray(each.variable) for each in found], [each.axes[0] for each in found]
    if settings.ratios:
        parts = [settings.ratios.get(each.layer, 0.0) for each in found]
    else:
        outputs_last = [np.moveaxis(x, axis, -1) for x, axis in zip(values, axes, strict=True)]
        parts = layer_sparsities(outputs_last, settings.sparsity, settings.distribution)
    for kernel, whole, part, axis in zip(found, values, parts, axes, strict=True):
        kernel.variable.assign(whole * mask_of(whole, part, settings.pattern, axis))


def _on_levels(model: keras.Model, settings: QuantizeWeights, examples: Arrays) -> Bundle:
    quick = settings.model_copy(update={"calibration": "minmax", "bias_correction": False})
    quantized = quantize(model, quick, examples, 0)
    quantized.method.finish()
    return Bundle(quantized.model, forms=quantized.method.forms)
