"""Prepares what all trials of a search share, from a stage's config and inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import keras

from pocketkube.bundle import load_bundle
from pocketkube.data import load_dataset
from pocketkube.data.dataset import Arrays
from pocketkube.errors import UserError
from pocketkube.latency_table.another_device import another_device
from pocketkube.latency_table.budget import Latency
from pocketkube.latency_table.prunings import latency_budget, random_prunings
from pocketkube.pruning.pruner import Pruner
from pocketkube.search.prepared import FileOf, LatencyOf, prepare_search
from pocketkube.search.problem import Problem
from pocketkube.search.space_of import BITS, SPARSITIES, SearchedStages
from pocketkube.sparsity.selection import sparsifiable_kernels
from pocketkube.spec.searched import searched_budget
from pocketkube.spec.sections import QuantizeWeights, SparsifyWeights
from pocketkube.spec.stage_settings import StageSettings
from pocketkube.stages.assessment import task_of
from pocketkube.stages.configs import SearchRatiosConfig
from pocketkube.stages.examples import labelled
from pocketkube.stages.foreseen import foreseen_file
from pocketkube.stages.formats import last_format
from pocketkube.stages.registry import TEACHER


def prepare(config: SearchRatiosConfig, inputs: Mapping[str, Path], folder: Path) -> Problem:
    """Prepares the search that a stage's config asks for; see `prepare_search`.

    Args:
        config: The stage's.
        inputs: Folders of the model and, where that is another one, of the uncompressed one, from which
            a target counts.
        folder: The bundle to write.
    """
    bundle = load_bundle(inputs["model"])
    first = load_bundle(inputs[TEACHER]) if TEACHER in inputs else bundle
    task = task_of(bundle.facts)
    searched = SearchedStages(
        config.search, config.stages, config.target, last_format(config.stages).numbers
    )
    return prepare_search(
        bundle.model,
        labelled(load_dataset(config.dataset), task, first, bundle.model),
        task,
        searched,
        folder,
        uncompressed=first.model,
        latency_of=_latency_by_table(config, searched),
        file_of=_file_of(config),
        training=config.training,
        dataset_settings=config.dataset,
        seed=config.seed,
    )


def _file_of(config: SearchRatiosConfig) -> FileOf | None:
    if searched_budget(config.search, config.stages, config.target) != "bytes":
        return None
    return lambda model, examples: widest_file(config.stages, config.search.over, model, examples)


def widest_file(
    stages: Sequence[StageSettings], over: Sequence[str], model: keras.Model, examples: Arrays
) -> bytes:
    """The file of a model with all its channels, the most bits and the most zeros that a search gives.

    Args:
        stages: Settings of all of the job's stages.
        over: The names of those that are searched. Zeros of a stage that is not are left out of it:
            they would make it smaller than any that is foreseen.
        model: The model; it is left as it is.
        examples: Training examples, for ranges.
    """

    def widest(settings: StageSettings) -> StageSettings:
        if isinstance(settings, SparsifyWeights):
            zeros = {path: max(SPARSITIES) for path, _ in sparsifiable_kernels(model)}
            return settings.model_copy(update={"ratios": zeros})
        if isinstance(settings, QuantizeWeights):
            return settings.model_copy(update={"weight_bits": int(max(BITS))})
        return settings

    counted = [each for each in stages if each.name in over or not isinstance(each, SparsifyWeights)]
    return foreseen_file(
        [widest(each) if each.name in over else each for each in counted], model, examples
    )


def _latency_by_table(config: SearchRatiosConfig, searched: SearchedStages) -> LatencyOf | None:
    """The latency of any cut by the table that the target names, where that is the search's budget."""
    if searched_budget(config.search, config.stages, config.target) != "latency":
        return None
    assert searched.prune is not None
    assert config.target is not None
    settings, place = searched.prune, config.target.latency_table

    def latency_of(pruner: Pruner, examples: Arrays) -> Latency:
        device = another_device(place)
        # Times do not depend on which channels go: the quickest pruner serves.
        quick = Pruner(pruner.copy(), round_to=settings.round_to, max_ratio=settings.max_ratio)
        prunings = random_prunings(
            quick,
            searched.numbers,
            lambda pruned: foreseen_file(config.stages, pruned, examples),
            config.seed,
        )
        try:
            return replace(latency_budget(quick, prunings, device.table), model=pruner.costs)
        except UserError as error:
            raise error.saying(f"target.latency_table: {place}: {error}") from error

    return latency_of
