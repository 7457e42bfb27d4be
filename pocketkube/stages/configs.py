"""What each stage depends on: its own settings, and parts of the spec."""

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pocketkube.errors import UserError
from pocketkube.spec.searched import check_search, searched_budget
from pocketkube.spec.sections import (
    Benchmark,
    Cluster,
    ClusterWeights,
    DatasetSettings,
    Distillation,
    DistillModel,
    FineTune,
    Import,
    PruneChannels,
    Quantize,
    QuantizeWeights,
    Search,
    SparsifyWeights,
    Target,
    TaskSettings,
    Threads,
    Training,
)
from pocketkube.spec.settings import Settings
from pocketkube.spec.spec import Spec, check_training
from pocketkube.spec.stage_settings import StageSettings


class StageConfig(Settings):
    """A stage's settings and the parts of the spec it depends on: all it reads beside its inputs.

    The fields are the rule of every cache, here and on Kubeflow: what is no field of a stage's config
    cannot change its output. A field has the name of the spec's part that it takes; `settings` are the
    stage's own.
    """

    @classmethod
    def of(cls, spec: Spec, settings: StageSettings | None = None) -> Self:
        """The config of a stage of a spec's job.

        Args:
            spec: The job.
            settings: The stage's own settings, where it has any.
        """
        return cls(**cls._parts(spec, settings))

    def depends_on(self, spec: Spec) -> tuple[str, ...]:
        """The parts of its job's spec that it depends on, by their names.

        Args:
            spec: The job.
        """
        return tuple(self._parts(spec, getattr(self, "settings", None)))

    def values(self) -> Iterator[tuple[str, Any]]:
        """Each field's name and value, in order; of a tuple, as `stages`, each value in it."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            for each in value if isinstance(value, tuple) else (value,):
                yield name, each

    @classmethod
    def _parts(cls, spec: Spec, settings: StageSettings | None) -> dict[str, Any]:
        names = [name for name in cls.model_fields if name != "settings"]
        parts = {name: getattr(spec, name) for name in names}
        return parts | {"settings": settings} if "settings" in cls.model_fields else parts


class ModelConfig(StageConfig):
    """Of stages that open models, which may have layers of the user's own."""

    imports: tuple[Import, ...] = ()


class _Common(ModelConfig):
    dataset: DatasetSettings
    seed: int = Field(0, ge=0)


class NetworkConfig(_Common):
    """Of stages that bring the job's model into being, and settle its task."""

    model: str
    width: float = Field(1.0, gt=0.0)
    task: TaskSettings | None = None
    training: Training = Training()


class CheckExportConfig(NetworkConfig):
    """Of `check_export`: all stages have a part in the file; a target, where that is looked at."""

    target: Target | None = None
    stages: tuple[StageSettings, ...] = ()

    @classmethod
    def _parts(cls, spec: Spec, settings: StageSettings | None) -> dict[str, Any]:
        parts = super()._parts(spec, settings)
        target = spec.target
        if target is None or not (target.latency_table or target.max_accuracy_drop is not None):
            del parts["target"]
        return parts


class TrainModelConfig(NetworkConfig):
    """Of `train_model`."""


class Learning(Settings):
    """How a model is trained on, whatever the data: the keywords of the API, too."""

    seed: int = Field(0, ge=0)
    task: TaskSettings | None = None
    training: Training = Training()
    distillation: Distillation = Distillation()

    @model_validator(mode="after")
    def _training_suits_the_task(self) -> Self:
        check_training(self.training, self.task)
        return self


class LearningConfig(Learning, _Common):
    """Of stages that train a model on, with teachers."""


class DistillModelConfig(LearningConfig):
    """Of `distill_model`."""

    settings: DistillModel


class PruneChannelsConfig(LearningConfig):
    """Of `prune_channels`.

    A target that only the file can meet depends on what follows, and on how it is measured: `stages`
    are all of the job's then, and else none.
    """

    settings: PruneChannels = PruneChannels()
    target: Target | None = None
    stages: tuple[StageSettings, ...] = ()
    benchmark: Benchmark = Benchmark()

    @classmethod
    def _parts(cls, spec: Spec, settings: StageSettings | None) -> dict[str, Any]:
        parts = super()._parts(spec, settings)
        if spec.target is None or not spec.target.judges_the_file:
            del parts["stages"], parts["benchmark"]
        return parts

    @model_validator(mode="after")
    def _what_follows_is_known(self) -> Self:
        if self.target is not None and self.target.judges_the_file and not self.stages:
            raise ValueError(
                "stages: a target of max_size or max_latency_ms is judged by the file that the job "
                "ends in; give the settings of all of its stages"
            )
        return self


class SearchRatiosConfig(_Common):
    """Of `search_ratios`.

    `stages` are those that it decides, or all of the job's where the file that it ends in is the
    budget. Without steps of training in a trial, `training` plays no part; nor does a target where the
    search has a budget of its own.
    """

    search: Search
    stages: tuple[StageSettings, ...]
    target: Target | None = None
    training: Training = Training()

    @property
    def of_any_trials(self) -> Self:
        """The same, whatever says how often and by what is tried: a score holds for all of them."""
        fields = type(self.search).model_fields
        anyhow = {name: fields[name].default for name in ("sampler", "trials", "parallel")}
        return self.model_copy(update={"search": self.search.model_copy(update=anyhow)})

    @classmethod
    def _parts(cls, spec: Spec, settings: StageSettings | None) -> dict[str, Any]:
        parts = super()._parts(spec, settings)
        if spec.search is None:
            raise UserError("search: is missing; name what is searched, as in {over: [prune_channels]}")
        budget = searched_budget(spec.search, spec.stages, spec.target)
        if budget not in ("bytes", "latency"):
            parts["stages"] = tuple(each for each in spec.stages if each.name in spec.search.over)
        pruned = "prune_channels" in spec.search.over
        if not spec.search.fine_tune_steps:
            del parts["training"]
        else:
            # A trial's course has a length of its own, and ends with its last weights.
            own = {name: Training.model_fields[name].default for name in ("epochs", "keep")}
            parts["training"] = spec.training.model_copy(update=own)
        if budget == "mean_bits" or (budget == "parameters" and not pruned):
            del parts["target"]
        return parts

    @model_validator(mode="after")
    def _it_can_be_searched(self) -> Self:
        check_search(self.search, self.stages, self.target)
        return self


class SparsifyWeightsConfig(LearningConfig):
    """Of `sparsify_weights`."""

    settings: SparsifyWeights = SparsifyWeights()


class ClusterWeightsConfig(LearningConfig):
    """Of `cluster_weights`."""

    settings: ClusterWeights = ClusterWeights()


class FineTuneModelConfig(LearningConfig):
    """Of `fine_tune_model`."""

    settings: FineTune = FineTune()


class QuantizeWeightsConfig(LearningConfig):
    """Of `quantize_weights`."""

    settings: QuantizeWeights = QuantizeWeights()


class ExportLitertConfig(_Common):
    """Of `export_litert`; the file is in floats without settings."""

    settings: Quantize | QuantizeWeights | None = Field(None, discriminator="name")


class OnNodesConfig(StageConfig):
    """Of stages whose result is the machine's: what a component's node has to be is a part of it.

    `cluster` counts where a stage is run by itself: one machine that runs a whole job measures what it
    is.
    """

    cluster: Cluster = Cluster()

    def anywhere(self) -> Self:
        """The same, of whatever machine."""
        return self.model_copy(update={"cluster": Cluster()})

    @classmethod
    def _parts(cls, spec: Spec, settings: StageSettings | None) -> dict[str, Any]:
        return {
            name: part for name, part in super()._parts(spec, settings).items() if name != "cluster"
        }


class BenchmarkLitertConfig(OnNodesConfig):
    """Of `benchmark_litert`."""

    benchmark: Benchmark = Benchmark()


class PrepareLatencyTableConfig(ModelConfig):
    """Of `prepare_latency_table`, which is a step of no spec's job."""

    formats: tuple[Literal["float32", "float16", "dynamic", "int8"], ...] = Field(
        ("float32", "int8"), min_length=1
    )


class MeasureLatencyTableConfig(OnNodesConfig):
    """Of `measure_latency_table`, which is a step of no spec's job."""

    threads: Threads = 1
    rounds: int = Field(5, ge=1)


class BuildReportConfig(Spec, StageConfig):
    """Of `build_report`, which shows the whole job: all parts of the spec."""
