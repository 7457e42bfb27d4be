"""A stage: clips the few weights that are far larger than the others, which only widen ranges."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from pocketkube.spec.sections import StageBase
from pocketkube.stages.configs import LearningConfig
from pocketkube.stages.registry import StageDefinition


class ClipWeights(StageBase):
    """Clips each kernel's weights to some standard deviations about their mean."""

    name: Literal["clip_weights"] = "clip_weights"
    deviations: float = Field(3.0, gt=0.0, description="How many standard deviations are kept.")


class ClipWeightsConfig(LearningConfig):
    """Of `clip_weights`."""

    settings: ClipWeights = ClipWeights()


def clip_weights(
    config: ClipWeightsConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Clips a bundle's weights and writes the bundle of what it becomes."""
    import numpy as np

    from pocketkube.bundle import NOW, Bundle, load_bundle, save_bundle
    from pocketkube.data import load_dataset
    from pocketkube.facts import Parent
    from pocketkube.graph.kernels import kernels_of
    from pocketkube.stages.assessment import after_stage, assess, stage_facts, task_of
    from pocketkube.stages.examples import labelled
    from pocketkube.stages.teaching import uncompressed

    began = time.monotonic()
    bundle = load_bundle(inputs["model"])
    task = task_of(bundle.facts)
    # Without labels, what the uncompressed model answers stands in for them.
    dataset = labelled(load_dataset(config.dataset), task, uncompressed(inputs))
    clipped, total = 0, 0
    for kernel in kernels_of(bundle.model):
        values = np.asarray(kernel.variable)
        reach = config.settings.deviations * values.std()
        kept = np.clip(values, values.mean() - reach, values.mean() + reach)
        clipped, total = clipped + int((kept != values).sum()), total + values.size
        kernel.variable.assign(kept)
    found = assess(bundle.model, dataset, task)
    parents = [Parent(role="model", stage=bundle.facts.made_by)]
    notes = [f"{clipped} of {total} weights of kernels are clipped."]
    stage = stage_facts(config.settings.name, parents, task, found, began, notes=notes)
    scores = {**bundle.scores, NOW: found.validation.each}
    save_bundle(output, Bundle(bundle.model, after_stage(bundle.facts, stage, found), scores=scores))


CLIP_WEIGHTS = StageDefinition("pocketkube_bars.stage", ClipWeightsConfig, optional=("teacher",))
