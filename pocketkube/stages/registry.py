"""The stages: what each takes, and how it is run."""

from dataclasses import dataclass

from pocketkube.errors import UserError
from pocketkube.stages import configs
from pocketkube.stages.configs import StageConfig


@dataclass(frozen=True)
class StageDefinition:
    """How a stage is run.

    Attributes:
        module: Where its function lives, which has the stage's name.
        config: What it is told.
        inputs: Its inputs, each the output folder of another stage.
        optional: Inputs that may be left out.
        shared: Whether its work is shared where training.workers asks for several processes.
        tensorflow: Whether it works on a Keras model; else it reads LiteRT files and figures only.
        cached: Whether its output is kept for the next run.
    """

    module: str
    config: type[StageConfig]
    inputs: tuple[str, ...] = ("model",)
    optional: tuple[str, ...] = ()
    shared: bool = False
    tensorflow: bool = True
    cached: bool = True


# The uncompressed model; left out where it is the model itself.
TEACHER = "teacher"


def _training(module: str, config: type[StageConfig]) -> StageDefinition:
    return StageDefinition(f"pocketkube.stages.{module}", config, optional=(TEACHER,), shared=True)


STAGES = {
    "check_export": StageDefinition("pocketkube.stages.checking", configs.CheckExportConfig, inputs=()),
    "train_model": StageDefinition(
        "pocketkube.stages.training", configs.TrainModelConfig, inputs=(), shared=True
    ),
    "distill_model": _training("distilling", configs.DistillModelConfig),
    "prune_channels": StageDefinition(
        "pocketkube.stages.pruning", configs.PruneChannelsConfig, optional=(TEACHER,)
    ),
    "sparsify_weights": _training("training", configs.SparsifyWeightsConfig),
    "cluster_weights": _training("training", configs.ClusterWeightsConfig),
    "fine_tune_model": _training("training", configs.FineTuneModelConfig),
    "quantize_weights": _training("quantizing", configs.QuantizeWeightsConfig),
    "export_litert": StageDefinition("pocketkube.stages.export", configs.ExportLitertConfig),
    "benchmark_litert": StageDefinition(
        "pocketkube.stages.measuring",
        configs.BenchmarkLitertConfig,
        inputs=("baseline", "result"),
        tensorflow=False,
    ),
    # Takes a moment, and says when and how it was made.
    "build_report": StageDefinition(
        "pocketkube.stages.reporting",
        configs.BuildReportConfig,
        inputs=("uncompressed", "baseline", "result", "measured"),
        tensorflow=False,
        cached=False,
    ),
}


def stage_named(name: str) -> StageDefinition:
    """The stage of that name.

    Raises:
        UserError: If there is none.
    """
    if name not in STAGES:
        raise UserError(f"There is no stage {name}; use one of {', '.join(STAGES)}.")
    return STAGES[name]
