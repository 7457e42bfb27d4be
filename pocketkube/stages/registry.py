"""The stages: what each takes, and how it is run."""

from dataclasses import dataclass

from pocketkube.errors import UserError
from pocketkube.extension import stages
from pocketkube.spec.sections import StageBase
from pocketkube.stages import configs
from pocketkube.stages.configs import StageConfig


@dataclass(frozen=True)
class StageDefinition:
    """How a stage is run.

    Attributes:
        module: Where its function lives, which has the stage's name.
        config: The class of its config.
        inputs: Its inputs, each the output folder of another stage.
        optional: Inputs that may be left out.
        shared: Whether its work is shared where training.workers asks for several processes.
        tensorflow: Whether it works on a Keras model; else it reads LiteRT files and figures only.
        cached: Whether its output is kept for the next run.
        component: Of a stage that a package adds, its component for Kubeflow Pipelines, as in
            "package.module:function": a function under `dsl.component`, with the config's fields,
            `model` and, where it may take one, `teacher` as its inputs, and one more artifact, a model,
            as its output. Without one the stage runs on one machine only.
        hands_on: The name of that output.
    """

    module: str
    config: type[StageConfig]
    inputs: tuple[str, ...] = ("model",)
    optional: tuple[str, ...] = ()
    shared: bool = False
    tensorflow: bool = True
    cached: bool = True
    component: str = ""
    hands_on: str = "compressed"

    @property
    def settings(self) -> type[StageBase]:
        """What stands under the stage's name in a spec."""
        kind = self.config.model_fields["settings"].annotation
        assert isinstance(kind, type)
        assert issubclass(kind, StageBase)
        return kind


# The uncompressed model; left out where it is the model itself.
TEACHER = "teacher"
# What a search has found for the stage's layers, where there was one.
RATIOS = "ratios"
# What a search found, for the report.
SEARCHED = "searched"


def _training(module: str, config: type[StageConfig], *more: str) -> StageDefinition:
    module = f"pocketkube.stages.{module}"
    return StageDefinition(module, config, optional=(TEACHER, *more), shared=True)


STAGES = {
    "check_export": StageDefinition("pocketkube.stages.checking", configs.CheckExportConfig, inputs=()),
    "train_model": StageDefinition(
        "pocketkube.stages.training", configs.TrainModelConfig, inputs=(), shared=True
    ),
    "distill_model": _training("distilling", configs.DistillModelConfig),
    "search_ratios": StageDefinition(
        "pocketkube.stages.searching", configs.SearchRatiosConfig, optional=(TEACHER,)
    ),
    "prune_channels": StageDefinition(
        "pocketkube.stages.pruning", configs.PruneChannelsConfig, optional=(TEACHER, RATIOS)
    ),
    "sparsify_weights": _training("training", configs.SparsifyWeightsConfig, RATIOS),
    "cluster_weights": _training("training", configs.ClusterWeightsConfig),
    "fine_tune_model": _training("training", configs.FineTuneModelConfig),
    "quantize_weights": _training("quantizing", configs.QuantizeWeightsConfig, RATIOS),
    "export_litert": StageDefinition("pocketkube.stages.export", configs.ExportLitertConfig),
    "benchmark_litert": StageDefinition(
        "pocketkube.stages.measuring",
        configs.BenchmarkLitertConfig,
        inputs=("baseline", "result"),
        tensorflow=False,
    ),
    "prepare_latency_table": StageDefinition(
        "pocketkube.stages.latency_networks", configs.PrepareLatencyTableConfig
    ),
    "measure_latency_table": StageDefinition(
        "pocketkube.stages.measuring",
        configs.MeasureLatencyTableConfig,
        inputs=("networks",),
        tensorflow=False,
    ),
    # Takes a moment, and says when and how it was made.
    "build_report": StageDefinition(
        "pocketkube.stages.reporting",
        configs.BuildReportConfig,
        inputs=("uncompressed", "baseline", "result", "measured"),
        optional=(SEARCHED,),
        tensorflow=False,
        cached=False,
    ),
}


def stage_named(name: str) -> StageDefinition:
    """The stage of that name.

    Raises:
        UserError: If there is none.
    """
    if name in STAGES:
        return STAGES[name]
    added: StageDefinition = stages.get(name, tuple(STAGES), StageDefinition)
    wrong = _wrong(added, name)
    if wrong:
        raise UserError(f"The stage {name} of {stages.origin(name).who} {wrong}.")
    return added


def _wrong(added: StageDefinition, name: str) -> str:
    """Why a stage cannot stand in a spec; nothing if it can."""
    if added.inputs != ("model",) or not {*added.optional} <= {TEACHER}:
        return "has other inputs than model, which it has to take, and teacher, which it may"
    field = added.config.model_fields.get("settings")
    kind = field and field.annotation
    if not (isinstance(kind, type) and issubclass(kind, StageBase)):
        return "has a config without a field settings of a subclass of StageBase"
    named = kind.model_fields["name"]
    if named.get_default() != name:
        return f"has settings whose name is {named.get_default()!r}, not its own"
    return ""
