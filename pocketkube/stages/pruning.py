"""The stage that prunes channels."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from pocketkube.bundle import NOW, UNPRUNED, Bundle, load_bundle, save_bundle
from pocketkube.data import load_dataset
from pocketkube.data.batches import calibration_examples
from pocketkube.data.dataset import Dataset
from pocketkube.distillation import Teacher
from pocketkube.facts import Parent, PruningFacts
from pocketkube.graph.surgery import copy_model
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.prune import prune_to_counts, prune_with, pruner_for
from pocketkube.spec.sections import FineTune
from pocketkube.stages.assessment import after_stage, assess, costs_of, stage_facts, task_of
from pocketkube.stages.configs import PruneChannelsConfig
from pocketkube.stages.examples import labelled
from pocketkube.stages.latency_target import prune_by_table
from pocketkube.stages.registry import RATIOS, TEACHER
from pocketkube.stages.searched import with_found
from pocketkube.stages.targets import Cuts, reach
from pocketkube.stages.teaching import distillation_term, load_teachers
from pocketkube.stages.training import fine_tuning
from pocketkube.stages.without_data import random_inputs
from pocketkube.training.loop import train
from pocketkube.training.task import Task


def prune_channels(
    config: PruneChannelsConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Prunes a bundle's model until it reaches the spec's target, and writes the smaller one's.

    A target counts from the uncompressed model, whatever other stages have done before.
    """
    began = time.monotonic()
    settings = with_found(config.settings, inputs)
    bundle = load_bundle(inputs["model"])
    first = load_bundle(inputs[TEACHER]) if TEACHER in inputs else bundle
    task = task_of(bundle.facts)
    dataset, calibration, tuner = None, None, None
    examples = random_inputs(bundle.model)
    if not config.dataset.is_none:
        dataset = labelled(load_dataset(config.dataset), task, first, bundle.model)
        known = calibration_examples(dataset, settings.calibration_examples, config.seed)
        calibration, examples = Calibration(*known, loss=task.loss), known[0]
        teachers = load_teachers(config, first, dataset)
        tuner = _FineTuner(config, teachers, dataset, task, scratch)

    def cuts_of() -> Cuts:
        pruner = pruner_for(bundle.model, settings, calibration=calibration, seed=config.seed)
        return Cuts(
            lambda speedup: prune_with(pruner, settings, speedup=speedup, between=tuner),
            lambda limit_ms, judge_file: prune_by_table(
                config,
                bundle.model,
                pruner,
                examples,
                scratch,
                limit_ms,
                judge_file,
                lambda counts: prune_to_counts(pruner, settings, counts, between=tuner),
            ),
        )

    tried: list[str] = []
    if settings.ratios:
        pruned = cuts_of().by(None)
    else:
        pruned, tried = reach(
            config,
            bundle.model,
            first,
            dataset,
            task,
            examples,
            cuts_of,
            tuner.short_course if tuner else copy_model,
        )
    scored = None if dataset is None else assess(pruned.model, dataset, task)
    found = scored or costs_of(pruned.model)
    searched = ["Its ratios are those that search_ratios has found."] if RATIOS in inputs else []
    notes = [*searched, *pruned.notes, *tried]
    began -= tuner.earlier_seconds if tuner else 0.0
    stage = stage_facts(settings.name, _parents(bundle, first), task, found, began, notes=notes)
    # What pruning costs shows when the model has been trained on: whether that makes up for it is said
    # then, or where the model is exported without.
    unrecovered = [PruningFacts.model_validate(settings.model_dump())] if pruned.kept else []
    facts = after_stage(bundle.facts, stage, found, first.facts.stages).model_copy(
        update={
            "kept": {name: tuple(counts) for name, counts in pruned.kept.items()},
            "unrecovered": (*bundle.facts.unrecovered, *unrecovered),
        }
    )
    scores = dict(bundle.scores)
    if scores and pruned.kept:
        scores = {UNPRUNED: scores[NOW]} | scores
    if scored is not None:
        scores |= {NOW: scored.validation.each}
    save_bundle(output, Bundle(pruned.model, facts, scores=scores))


def _parents(bundle: Bundle, first: Bundle) -> list[Parent]:
    """A target counts from the uncompressed model."""
    parents = [Parent(role="model", stage=bundle.facts.made_by)]
    if first is not bundle:
        parents.append(Parent(role="baseline", stage=first.facts.made_by))
    return parents


class _FineTuner:
    """Fine-tunes between lists of groups, and to see where a candidate's accuracy will be.

    Attributes:
        earlier_seconds: How much of it earlier processes did, which were interrupted.
    """

    def __init__(
        self,
        config: PruneChannelsConfig,
        teachers: Sequence[Teacher],
        dataset: Dataset,
        task: Task,
        scratch: Path,
    ) -> None:
        self._config, self._teachers, self._scratch = config, teachers, scratch
        self._dataset, self._task, self.earlier_seconds = dataset, task, 0.0
        self._course = fine_tuning(config.training, FineTune(epochs=config.settings.group_epochs))

    def __call__(self, model: keras.Model, number: int) -> keras.Model:
        """Trains a model in place after list `number` was pruned."""
        self._train(model, f"fine_tune after cut {number + 1}", number)
        return model

    def short_course(self, model: keras.Model) -> keras.Model:
        """A fine-tuned copy of a model."""
        copy = copy_model(model)
        self._train(copy, "trial", 0)
        return copy

    def _train(self, model: keras.Model, stage: str, number: int) -> None:
        history = train(
            model,
            self._dataset,
            self._task,
            self._course,
            seed=self._config.seed + 100 + number,
            stage=stage,
            distillation=distillation_term(
                self._config, model, self._task, self._teachers, self._dataset
            ),
            checkpoints=self._scratch,
        )
        self.earlier_seconds += history.earlier_seconds
