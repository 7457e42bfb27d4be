"""A spec as a whole, and how its sections have to fit each other."""

import math
from typing import Any, Self

from pydantic import Field, model_validator

from pocketkube.models.names import BUILT_IN_NAMES
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.order import broken_order
from pocketkube.spec.searched import check_search, check_trials
from pocketkube.spec.sections import (
    Benchmark,
    Cluster,
    DatasetSettings,
    Distillation,
    DistillModel,
    Import,
    PruneChannels,
    Search,
    Target,
    TaskSettings,
    Training,
)
from pocketkube.spec.sections.dataset import NONE
from pocketkube.spec.sections.imports import check_imports
from pocketkube.spec.settings import Place, Settings
from pocketkube.spec.stage_settings import StageSettings
from pocketkube.spec.without_data import by_weights_alone, needs_examples


class Spec(Settings):
    """One job: a model, its data, the target and the stages that lead there."""

    model: Place = Field(
        description="A built-in network's name, or the path of a .keras file; of Keras 2, a .h5 or "
        ".hdf5 file or a SavedModel's folder."
    )
    imports: tuple[Import, ...] = Field(
        (),
        description="Modules with layers of your own, imported before models are: the names of "
        "installed ones, or of .py files beside the spec, which go with it wherever it runs.",
    )
    width: float = Field(1.0, gt=0.0, le=1e6, description="Width multiplier of a built-in network.")
    dataset: DatasetSettings = Field(
        DatasetSettings(builtin=NONE),
        description="The examples: a built-in name, or a source. Without any, what looks at weights "
        "alone can be done, and nothing is judged.",
    )
    task: TaskSettings | None = Field(
        None, description="What the labels are; unset, the model's loss tells, or their shape and type."
    )
    target: Target | None = Field(None, description="What to reach; needed to prune by a budget.")
    stages: tuple[StageSettings, ...] = Field(
        description="What is done, in this order: a name, or {name: {setting: value}}."
    )
    search: Search | None = Field(
        None, description="Finds layers' ratios and bits before the first stage that it decides."
    )
    training: Training = Field(
        Training(), description="How all stages train, and a built-in network first of all."
    )
    distillation: Distillation = Field(Distillation(), description="The teachers' part.")
    benchmark: Benchmark = Field(Benchmark(), description="How the files are measured.")
    cluster: Cluster = Field(Cluster(), description="Where tasks run on Kubeflow, and with what.")
    seed: int = Field(0, ge=0, description="Everything random follows from it.")

    @model_validator(mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value.get("dataset", NONE) is None:
            value = {name: part for name, part in value.items() if name != "dataset"}
        if isinstance(value.get("stages"), list | tuple):
            stages = tuple(named_stage(stage) for stage in value["stages"])
            dataset = value.get("dataset", NONE)
            # With its size alone said, as of a model that takes any.
            if NONE in (dataset, dataset.get("builtin") if isinstance(dataset, dict) else None):
                stages = tuple(map(by_weights_alone, stages))
            return value | {"stages": stages}
        return value

    @model_validator(mode="after")
    def _imports_can_be_handed_on(self) -> Self:
        check_imports(self.imports)
        return self

    @model_validator(mode="after")
    def _stages_can_follow_each_other(self) -> Self:
        sentence = broken_order(self.stages)
        if sentence:
            raise ValueError(f"stages: {sentence}")
        return self

    @model_validator(mode="after")
    def _goes_without_examples(self) -> Self:
        sentence = needs_examples(self) if self.dataset.is_none else ""
        if sentence:
            raise ValueError(sentence)
        return self

    @model_validator(mode="after")
    def _there_is_something_to_learn(self) -> Self:
        if not self.distillation.teaches and any(isinstance(s, DistillModel) for s in self.stages):
            raise ValueError(
                "distillation: weight, features_weight and attention_weight are 0, so that "
                "distill_model would learn nothing from its teacher; give one of them"
            )
        return self

    @model_validator(mode="after")
    def _pruning_knows_how_far(self) -> Self:
        pruning = [stage for stage in self.stages if isinstance(stage, PruneChannels)]
        speedup = self.target.speedup if self.target else None
        if pruning and speedup and all(stage.ratios for stage in pruning):
            raise ValueError(
                "target: speedup and prune_channels' ratios contradict each other; give one"
            )
        if not self.target and not all(stage.ratios for stage in pruning):
            raise ValueError(
                "target: prune_channels needs to know how far; give target: {speedup: 2} or ratios"
            )
        if speedup and not pruning:
            raise ValueError("target: speedup needs the stage prune_channels; nothing else cuts so far")
        return self

    @model_validator(mode="after")
    def _a_latency_is_of_one_thread(self) -> Self:
        if self.target and self.target.max_latency_ms is not None and 1 not in self.benchmark.threads:
            raise ValueError(
                "benchmark: threads has to have 1 among them, with which target.max_latency_ms is "
                f"measured; received {', '.join(map(str, self.benchmark.threads))}"
            )
        return self

    @model_validator(mode="after")
    def _workers_are_enough_to_begin(self) -> Self:
        elastic, slots = self.cluster.workers.elastic, self.cluster.workers.slots
        there = slots * math.ceil(self.training.workers / slots)
        if elastic and elastic.min_workers > there:
            raise ValueError(
                f"cluster.workers.elastic.min_workers: training would wait for {elastic.min_workers} "
                f"processes, and training.workers: {self.training.workers} begins with {there}"
            )
        if elastic and elastic.max_workers < self.training.workers:
            raise ValueError(
                f"cluster.workers.elastic.max_workers: {elastic.max_workers} is fewer than "
                f"training.workers, {self.training.workers}, which training begins with"
            )
        return self

    @model_validator(mode="after")
    def _every_worker_that_may_come_has_examples(self) -> Self:
        elastic, trials = self.cluster.workers.elastic, self.cluster.trials
        asked = {"workers.elastic.max_workers": elastic.max_workers} if elastic else {}
        if self.search is not None and trials.launcher == "katib":
            asked["trials.workers"] = trials.workers
        size, parts = self.training.batch_size, self.training.gradient_accumulation_steps
        batch = f"a batch of training.batch_size, {size}"
        batch += f", in gradient_accumulation_steps, {parts}" if parts > 1 else ""
        for name, count in asked.items():
            if count > size // parts:
                raise ValueError(
                    f"cluster.{name}: {count} processes cannot share {batch}; use at most "
                    f"{size // parts}"
                )
        return self

    @model_validator(mode="after")
    def _a_drop_is_a_part(self) -> Self:
        drop = self.target.max_accuracy_drop if self.target else None
        if drop is not None and drop >= 1 and self._is_of_classes:
            raise ValueError(f"target: {said_of_drop(drop, 'accuracy')}")
        return self

    @property
    def _is_of_classes(self) -> bool:
        """Whether it is known without a look at model and labels that scores are parts of 1."""
        if self.task is not None:
            return bool(self.task.classification or self.task.segmentation or self.task.multi_label)
        return self.model in BUILT_IN_NAMES or (
            self.dataset.labels and self.dataset.source[0] in ("builtin", "idx", "cifar10", "cifar100")
        )

    @model_validator(mode="after")
    def _search_fits(self) -> Self:
        if self.search is not None:
            check_search(self.search, self.stages, self.target)
            check_trials(self.search, self.cluster.trials)
        return self

    @model_validator(mode="after")
    def _width_is_of_a_built_in_network(self) -> Self:
        if is_model_file(self.model) and self.width != 1.0:
            raise ValueError(said_of_width(self.model))
        return self

    @model_validator(mode="after")
    def _training_suits_the_task(self) -> Self:
        check_training(self.training, self.task)
        return self


def check_training(training: Training, task: TaskSettings | None) -> None:
    """Refuses a course of training that a task has no use for.

    Args:
        training: The course.
        task: The task; None where the labels tell.

    Raises:
        ValueError: If it does not suit the task; begins with the key that it is about.
    """
    if task is None or not (task.landmarks or task.added):
        return
    augmentation, named = training.augmentation, "landmarks"
    if task.added:
        named = "labels, which a package's task knows alone"
    if augmentation.crop or augmentation.shift or augmentation.flip or augmentation.mixup:
        raise ValueError(
            "training: augmentation's crop, shift, flip and mixup move what is in an image, but "
            f"not its {named}; leave them out, cutout may stay"
        )
    for name in ("label_smoothing", "class_weights"):
        if getattr(training, name):
            raise ValueError(f"training: {name} is for classes, not for {named}; leave it out")


def said_of_width(model: str) -> str:
    """Why a model that is a file takes no width."""
    return f"width: multiplies built-in networks only, and model is the file {model}; leave width out"


def said_of_drop(drop: float, score: str) -> str:
    """Why a score that is a part of 1 cannot fall so far, as a person means who thinks in points.

    Args:
        drop: What is given, 1 or more.
        score: What the score is called.
    """
    return f"max_accuracy_drop: {drop:g} is {drop * 100:g} points of {score}; for one point give 0.01"


def named_stage(stage: Any) -> Any:
    """Brings a stage's short forms to {name: ..., setting: ...}; leaves what is no stage as it is.

    Args:
        stage: What stands in a list of stages.
    """
    if isinstance(stage, str):
        return {"name": stage}
    if isinstance(stage, dict) and len(stage) == 1 and "name" not in stage:
        ((name, settings),) = stage.items()
        if settings is None:
            return {"name": name}
        if isinstance(settings, dict) and "name" not in settings:
            return {"name": name, **settings}
    return stage
