"""The pipeline that compresses a network: ready, with a form, or of any spec's own shape."""

import inspect
from collections.abc import Callable, Container, Mapping
from pkgutil import resolve_name
from typing import Any, NamedTuple

from kfp import dsl, kubernetes

from components.compression.benchmark_litert import benchmark_litert
from components.compression.build_report import build_report
from components.compression.check_addresses import check_addresses
from components.compression.check_export import check_export
from components.compression.check_spec import check_spec
from components.compression.cluster_weights import cluster_weights
from components.compression.distill_model import distill_model
from components.compression.export_litert import export_litert
from components.compression.fine_tune_model import fine_tune_model
from components.compression.prune_channels import prune_channels
from components.compression.quantize_weights import quantize_weights
from components.compression.search_ratios import search_ratios
from components.compression.sparsify_weights import sparsify_weights
from components.compression.train_model import train_model
from pipelines.forms import form_pipeline
from pipelines.pods import request_first, request_later, request_now, set_images, set_pod, set_store
from pocketkube.errors import UserError
from pocketkube.extension import stages
from pocketkube.spec import Spec, settings_document
from pocketkube.spec.form import CompressForm, spec_of
from pocketkube.spec.sections import TaskPods
from pocketkube.stages.configs import BuildReportConfig
from pocketkube.stages.parts import (
    TASKS,
    check_tasks,
    cluster_of_benchmark,
    cluster_of_search,
    cluster_of_training,
    request_of,
    request_of_pods,
)
from pocketkube.stages.plan import BASELINE, MEASURED, REPORTED, RESULT, SEARCH, Step, plan
from pocketkube.stages.registry import stage_named

NAME = "compress-model"
DESCRIPTION = "Makes a trained Keras network smaller and faster, and shows by how much."
COMPONENTS: dict[str, Callable[..., Any]] = {
    "check_export": check_export,
    "train_model": train_model,
    "distill_model": distill_model,
    "search_ratios": search_ratios,
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
    "search_ratios": "ratios",
    "prune_channels": "pruned",
    "sparsify_weights": "sparse",
    "cluster_weights": "clustered",
    "fine_tune_model": "tuned",
    "quantize_weights": "quantized",
    "export_litert": "litert",
    "benchmark_litert": "figures",
}
# Parts of a spec that a run of its own pipeline may change; its stages and pods are its shape.
PARAMETERS: dict[str, type] = {
    "model": str,
    "width": float,
    "dataset": dict,
    "task": dict,
    "target": dict,
    "training": dict,
    "distillation": dict,
    "benchmark": dict,
    "seed": int,
    "imports": list,
}


class Compressed(NamedTuple):
    """What the pipeline gives."""

    model: dsl.Model
    baseline: dsl.Model
    litert: dsl.Model
    report: dsl.HTML
    figures: dsl.Artifact


class Searched(NamedTuple):
    """What the pipeline gives where it searches."""

    model: dsl.Model
    baseline: dsl.Model
    litert: dsl.Model
    report: dsl.HTML
    figures: dsl.Artifact
    ratios: dsl.Artifact


def ready_pipeline() -> Any:
    """Builds the pipeline that a person starts from a form: prune, fine-tune, write the file.

    Its parameters are those of `check_spec`, its first task, from which all others have their settings
    and their pods' sizes: one compiled pipeline serves all models, data sets, targets and clusters.

    Returns:
        The KFP pipeline.
    """
    return pipeline_of_form(CompressForm, check_spec, TASKS, NAME, DESCRIPTION)


def pipeline_of_form(
    form: type[CompressForm], check: Any, tasks: Mapping[str, str], name: str, description: str
) -> Any:
    """Builds a pipeline of the job that a form asks for.

    Args:
        form: The form.
        check: The component of the first task, whose parameters are the form's, and whose outputs tell
            the other tasks their settings and their pods' sizes.
        tasks: What it calls the tasks, by their steps' keys.
        name: The pipeline's name.
        description: What it is for.

    Returns:
        The KFP pipeline.
    """
    steps = plan(spec_of(form()))

    def pipeline(*values: Any) -> Compressed | Searched:
        given = dict(zip(form.model_fields, values, strict=True))
        checked = check(**given)
        # What addresses hold is looked at each time.
        checked.set_display_name(check.name.replace("-", "_")).set_caching_options(False)
        set_pod(checked)
        request_first(checked, "2Gi")
        set_images(checked)
        set_store(checked, given["object_store_secret"])

        def told(step: Step) -> dict[str, Any]:
            parts = _parts(step, check.component_spec.outputs)
            return {name: checked.outputs[part] for name, part in parts.items()}

        def placed(task: Any, step: Step) -> None:
            request_later(task, checked.outputs, tasks[step.key])
            set_store(task, given["object_store_secret"])
            task.set_retry(TaskPods().retries)

        return _joined(steps, told, placed)

    return form_pipeline(pipeline, form, check, name, description, _gives(steps))


def compress_model(spec: Spec, name: str = NAME) -> Any:
    """Builds the pipeline of a spec's own shape.

    Args:
        spec: The job. Its stages, their settings and its section cluster are the pipeline's shape; its
            other parts are the defaults of the pipeline's parameters, so that they can be changed for
            each run.
        name: The pipeline's name.

    Returns:
        The KFP pipeline.

    Raises:
        UserError: If a stage has no component, or cluster.tasks names no step of the job.
    """
    check_tasks(spec)
    if len(spec.model.splitlines()) != 1:
        # It would compile to YAML that cannot be read back.
        raise UserError("model: holds a line break, which a pipeline's parameter cannot")
    steps = plan(spec)

    def pipeline(*values: Any) -> Compressed | Searched:
        parameters = dict(zip(_parameters(spec), values, strict=True))
        store = spec.cluster.object_store
        # Where the spec names no address, a run's parameters may: what is there can change, and results
        # of what was there before are not to be taken from Kubeflow's cache.
        checked = check_addresses(**_told_of(check_addresses, spec, parameters))
        checked.set_display_name("check_addresses").set_caching_options(False)
        set_pod(checked)
        request_now(checked, request_of_pods(spec.cluster.task))
        set_store(checked, store.secret, store.endpoint)
        held = {"held": checked.outputs["held"]}

        def told(step: Step) -> dict[str, Any]:
            return _told(spec, step, parameters) | (held if _takes(step, "held") else {})

        def placed(task: Any, step: Step) -> None:
            request_now(task, request_of(spec.cluster, step))
            set_store(task, store.secret, store.endpoint)
            pods = spec.cluster.pods_of(step.key, step.stage)
            task.set_retry(pods.retries)
            if pods.timeout_minutes:
                kubernetes.set_timeout(task, 60 * pods.timeout_minutes)

        return _joined(steps, told, placed)

    pipeline.__signature__ = _signature(  # type: ignore[attr-defined]
        spec, _gives(steps)
    )
    return dsl.pipeline(name=name, description=DESCRIPTION)(pipeline)


def _joined(
    steps: tuple[Step, ...],
    told: Callable[[Step], dict[str, Any]],
    placed: Callable[[Any, Step], None],
) -> Compressed | Searched:
    """Joins the tasks of a job.

    Args:
        steps: The job's steps.
        told: What the component of a step is told, beside its inputs.
        placed: Says of the task of a step where it runs, and with what.
    """
    tasks: dict[str, Any] = {}
    for step in steps:
        inputs = {name: _output(tasks, steps, key) for name, key in step.inputs.items()}
        task = tasks[step.key] = _component(step.stage)(**told(step), **inputs)
        task.after(*(tasks[key] for key in step.after))
        task.set_display_name(step.title)
        set_pod(task)
        placed(task, step)
        if step.key == MEASURED:
            # A latency of another day says nothing of this machine.
            task.set_caching_options(False)
    report = tasks[REPORTED]
    last = next(s for s in steps if s.key == RESULT).inputs["model"]
    compressed = Compressed(
        model=_output(tasks, steps, last),
        baseline=_output(tasks, steps, BASELINE),
        litert=_output(tasks, steps, RESULT),
        report=report.outputs["report"],
        figures=report.outputs["figures"],
    )
    if _gives(steps) is Compressed:
        return compressed
    return Searched(*compressed, ratios=_output(tasks, steps, SEARCH))


def _gives(steps: tuple[Step, ...]) -> type[Compressed] | type[Searched]:
    """The type of a pipeline's outputs."""
    return Searched if any(step.key == SEARCH for step in steps) else Compressed


def _parts(step: Step, known: Container[str]) -> dict[str, str]:
    """Which part of the checked spec each parameter of a step's component takes."""
    own = {"1_prune_channels": "prune_channels", "2_fine_tune": "fine_tune", RESULT: "number_format"}
    fields = [name for name in type(step.config).model_fields if name != "settings"]
    parts = {name: name for name in fields if name in known}
    if step.stage == "prune_channels":
        parts |= {"stages": "file_stages", "benchmark": "file_benchmark"}
    if step.stage == "search_ratios":
        parts |= {name: f"search_{name}" for name in ("stages", "target", "training")}
    if step.key in own:
        parts["settings"] = own[step.key]
    if _takes(step, "held"):
        parts["held"] = "held"
    if step.stage != "build_report" and _takes(step, "cluster"):
        parts["cluster"] = {MEASURED: "benchmark_cluster", SEARCH: "search_cluster"}.get(
            step.key, "training_cluster"
        )
    return parts


def _parameters(spec: Spec) -> dict[str, type]:
    """What a run of a spec's own pipeline may change; how to search only where it searches."""
    return PARAMETERS | ({"search": dict} if spec.search else {})


def _signature(spec: Spec, gives: type[Compressed] | type[Searched]) -> inspect.Signature:
    """The pipeline's parameters, whose defaults are a spec's, and its outputs."""
    defaults = {"task": {}, "target": {}, "imports": []} | {
        name: getattr(spec, name) for name in ("width", "seed")
    }
    document = settings_document(spec)
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=document.get(name, defaults.get(name, {})),
                annotation=kind,
            )
            for name, kind in _parameters(spec).items()
        ],
        return_annotation=gives,
    )


def _told(spec: Spec, step: Step, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a component is told: parts that a run may change, and those that the steps are made of."""
    own = settings_document(step.config)
    told = {name: value for name, value in own.items() if name not in parameters} | {
        name: parameters[name] for name in step.config.depends_on(spec) if name in parameters
    }
    if step.stage != "build_report" and _takes(step, "cluster"):
        of = {MEASURED: cluster_of_benchmark, SEARCH: cluster_of_search}
        told["cluster"] = of.get(step.key, cluster_of_training)(spec.cluster)
    return told


def _told_of(component: Any, spec: Spec, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a component that runs no stage is told of a spec."""
    document = {**settings_document(BuildReportConfig.of(spec)), **parameters}
    return {name: document[name] for name in component.component_spec.inputs if name in document}


def _takes(step: Step, name: str) -> bool:
    return name in _component(step.stage).component_spec.inputs  # type: ignore[attr-defined]


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
