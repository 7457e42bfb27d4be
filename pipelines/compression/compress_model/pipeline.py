"""The pipeline that compresses a network: the steps of a spec, joined."""

import inspect
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any, NamedTuple

from kfp import dsl, kubernetes

from components.compression.benchmark_litert import benchmark_litert
from components.compression.build_report import build_report
from components.compression.check_export import check_export
from components.compression.cluster_weights import cluster_weights
from components.compression.distill_model import distill_model
from components.compression.export_litert import export_litert
from components.compression.fine_tune_model import fine_tune_model
from components.compression.prune_channels import prune_channels
from components.compression.quantize_weights import quantize_weights
from components.compression.sparsify_weights import sparsify_weights
from components.compression.train_model import train_model
from pocketkube.errors import UserError
from pocketkube.extension import stages
from pocketkube.spec import Spec, settings_document
from pocketkube.stages.plan import BASELINE, MEASURED, REPORTED, RESULT, Step, plan
from pocketkube.stages.registry import stage_named

COMPONENTS: dict[str, Callable[..., Any]] = {
    "check_export": check_export,
    "train_model": train_model,
    "distill_model": distill_model,
    "prune_channels": prune_channels,
    "sparsify_weights": sparsify_weights,
    "cluster_weights": cluster_weights,
    "fine_tune_model": fine_tune_model,
    "quantize_weights": quantize_weights,
    "export_litert": export_litert,
    "benchmark_litert": benchmark_litert,
    "build_report": build_report,
}
# The output of each component that others take.
HANDED_ON = {
    "train_model": "trained",
    "distill_model": "student",
    "prune_channels": "pruned",
    "sparsify_weights": "sparse",
    "cluster_weights": "clustered",
    "fine_tune_model": "tuned",
    "quantize_weights": "quantized",
    "export_litert": "litert",
    "benchmark_litert": "figures",
}
# Parts of a spec that a run may change; its stages are the pipeline's own.
PARAMETERS: dict[str, type] = {
    "model": str,
    "width": float,
    "dataset": dict,
    "task": dict,
    "target": dict,
    "training": dict,
    "distillation": dict,
    "benchmark": dict,
    "cluster": dict,
    "seed": int,
}


class Compressed(NamedTuple):
    """What the pipeline gives."""

    model: dsl.Model
    baseline: dsl.Model
    litert: dsl.Model
    report: dsl.HTML
    figures: dsl.Artifact


def compress_model(spec: Spec) -> Any:
    """Builds the pipeline for a spec's stages.

    Args:
        spec: The job. Its stages and their settings are the pipeline's shape; its other parts are the
            defaults of the pipeline's parameters, so that they can be changed for each run.

    Returns:
        The KFP pipeline.
    """
    steps = plan(spec)

    def pipeline(*values: Any) -> Compressed:
        parameters = dict(zip(PARAMETERS, values, strict=True))
        tasks: dict[str, Any] = {}
        for step in steps:
            inputs = {name: _output(tasks, steps, key) for name, key in step.inputs.items()}
            told = _told(step, parameters)
            tasks[step.key] = _component(step.stage)(**told, **inputs)
            tasks[step.key].after(*(tasks[key] for key in step.after))
            _harden(tasks[step.key], step)
        report = tasks[REPORTED]
        last = next(s for s in steps if s.key == RESULT).inputs["model"]
        return Compressed(
            model=_output(tasks, steps, last),
            baseline=_output(tasks, steps, BASELINE),
            litert=_output(tasks, steps, RESULT),
            report=report.outputs["report"],
            figures=report.outputs["figures"],
        )

    pipeline.__signature__ = _signature(spec)  # type: ignore[attr-defined]
    return dsl.pipeline(
        name="compress-model",
        description="Makes a trained Keras network smaller and faster, and shows by how much.",
    )(pipeline)


def _signature(spec: Spec) -> inspect.Signature:
    """The pipeline's parameters, whose defaults are a spec's."""
    defaults = {"task": {}, "target": {}} | {name: getattr(spec, name) for name in ("width", "seed")}
    document = settings_document(spec)
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=document.get(name, defaults.get(name, {})),
                annotation=kind,
            )
            for name, kind in PARAMETERS.items()
        ],
        return_annotation=Compressed,
    )


def _told(step: Step, parameters: dict[str, Any]) -> dict[str, Any]:
    """What a component is told: parts that a run may change, and those that the steps are made of."""
    own = settings_document(step.config)
    fields = own if step.stage == "prune_channels" else type(step.config).model_fields
    return {name: value for name, value in own.items() if name not in parameters} | {
        name: parameters[name] for name in fields if name in parameters
    }


def _component(stage: str) -> Callable[..., Any]:
    if stage in COMPONENTS:
        return COMPONENTS[stage]
    place = stage_named(stage).component
    if not place:
        raise UserError(
            f"The stage {stage} of {stages.origin(stage).who} has no component: run the job on one "
            "machine, or give its StageDefinition one."
        )
    component: Callable[..., Any] = resolve_name(place)
    return component


def _output(tasks: dict[str, Any], steps: tuple[Step, ...], key: str) -> Any:
    stage = next(step.stage for step in steps if step.key == key)
    return tasks[key].outputs[HANDED_ON.get(stage) or stage_named(stage).hands_on]


def _harden(task: Any, step: Step) -> None:
    task.set_display_name(step.title)
    kubernetes.set_security_context(task, run_as_user=1000, run_as_group=0, run_as_non_root=True)
    if step.key == MEASURED:
        # A latency of another day says nothing of this machine.
        task.set_caching_options(False)
