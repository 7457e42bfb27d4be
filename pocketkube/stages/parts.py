"""The parts of a form's spec: for each task of a compiled pipeline, what it depends on and no more."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pocketkube.errors import UserError
from pocketkube.spec import Spec, settings_document
from pocketkube.spec.form import CompressForm, SearchForm, name_of, spec_of
from pocketkube.spec.sections import Cluster, TaskPods
from pocketkube.stages.plan import RESULT, SEARCH, Step, plan
from pocketkube.stages.reachable import looked_up

# Names the image that measures on other nodes, where settings name none.
BENCHMARK_IMAGE = "POCKETKUBE_BENCHMARK_IMAGE"
# The tasks of compress-model, by their steps' names in it.
TASKS = {
    "check_export": "check_export",
    "train_model": "train_model",
    "1_prune_channels": "prune_channels",
    "2_fine_tune": "fine_tune",
    "baseline": "baseline",
    "result": "result",
    "benchmark": "benchmark_litert",
    "report": "build_report",
}
# The same of search-and-compress.
SEARCH_TASKS = {
    **{key: TASKS[key] for key in ("check_export", "train_model")},
    SEARCH: "search_ratios",
    **TASKS,
}


class SpecParts(NamedTuple):
    """What the tasks of compress-model are told.

    Kubeflow keeps a task's output by its inputs: what is no part of a task's own repeats nothing. The
    first eleven are the spec's own of that name.

    Attributes:
        held: Changes where what the spec's addresses hold does.
        stages: Settings of all stages, each with its name.
        prune_channels: Settings of pruning.
        fine_tune: Settings of fine-tuning.
        number_format: Settings of the stage that says what the file's numbers are; empty for floats.
        file_stages: `stages` where the file judges the target, else empty.
        file_benchmark: `benchmark` where the file judges the target, else empty.
        training_cluster: What of `cluster` concerns tasks that train.
        benchmark_cluster: What of it concerns the one that measures.
    """

    model: str
    width: float
    dataset: dict[str, Any]
    task: dict[str, Any]
    target: dict[str, Any]
    training: dict[str, Any]
    distillation: dict[str, Any]
    benchmark: dict[str, Any]
    cluster: dict[str, Any]
    seed: int
    imports: list[Any]
    held: str
    stages: list[Any]
    prune_channels: dict[str, Any]
    fine_tune: dict[str, Any]
    number_format: dict[str, Any]
    file_stages: list[Any]
    file_benchmark: dict[str, Any]
    training_cluster: dict[str, Any]
    benchmark_cluster: dict[str, Any]


class SearchParts(NamedTuple):
    """What the task that searches is told, beside what others are, too.

    Attributes:
        search: How it searches.
        search_stages: Settings of the stages that it decides, or of all where the file is the budget.
        search_target: What the budget is.
        search_training: How trials are fine-tuned; empty where they are not.
        search_cluster: What of `cluster` concerns it.
    """

    search: dict[str, Any]
    search_stages: list[Any]
    search_target: dict[str, Any]
    search_training: dict[str, Any]
    search_cluster: dict[str, Any]


class TaskRequest(NamedTuple):
    """What a task's pod asks for, as Kubeflow Pipelines takes it from a parameter; 0 is no limit."""

    cpu: str
    memory: str
    gpus: str
    node_selector: dict[str, str]
    tolerations: list[dict[str, str]]


def checked_parts(form: Mapping[str, Any]) -> tuple[SpecParts, dict[str, TaskRequest]]:
    """Checks what a form asks for, and takes it apart.

    Args:
        form: The form's parameters by their names; see `CompressForm`.

    Returns:
        What tasks are told, and what their pods ask for, by the names of `TASKS`.

    Raises:
        UserError: If a parameter is wrong, or an address that it names holds nothing.
    """
    spec, held = _checked(form, CompressForm)
    return parts_of(spec, held), _requests(spec, TASKS)


def checked_search_parts(
    form: Mapping[str, Any],
) -> tuple[SpecParts, SearchParts, dict[str, TaskRequest]]:
    """Checks what a form of a search asks for, and takes it apart.

    Args:
        form: The form's parameters by their names; see `SearchForm`.

    Returns:
        What tasks are told, and what their pods ask for, by the names of `SEARCH_TASKS`.

    Raises:
        UserError: As `checked_parts` does.
    """
    spec, held = _checked(form, SearchForm)
    return parts_of(spec, held), search_parts_of(spec), _requests(spec, SEARCH_TASKS)


def search_parts_of(spec: Spec) -> SearchParts:
    """What the task that searches is told.

    Args:
        spec: A job with a search.
    """
    (config,) = (settings_document(step.config) for step in plan(spec) if step.key == SEARCH)
    return SearchParts(
        search=config["search"],
        search_stages=config["stages"],
        search_target=config.get("target", {}),
        search_training=config.get("training", {}),
        search_cluster=cluster_of_search(spec.cluster),
    )


def parts_of(spec: Spec, held: str = "") -> SpecParts:
    """What tasks are told.

    Args:
        spec: A job of the stages that `spec_of` gives.
        held: What `looked_up` says of its addresses.
    """
    document = settings_document(spec)
    configs = {step.key: settings_document(step.config) for step in plan(spec)}
    pruning, tuning, result = (configs[key] for key in ("1_prune_channels", "2_fine_tune", RESULT))
    return SpecParts(
        model=spec.model,
        width=spec.width,
        dataset=document["dataset"],
        task=document.get("task", {}),
        target=document.get("target", {}),
        training=document.get("training", {}),
        distillation=document.get("distillation", {}),
        benchmark=document.get("benchmark", {}),
        cluster=document.get("cluster", {}),
        seed=spec.seed,
        imports=document.get("imports", []),
        held=held,
        stages=document["stages"],
        prune_channels=pruning.get("settings", {}),
        fine_tune=tuning.get("settings", {}),
        number_format=result.get("settings", {}),
        file_stages=pruning.get("stages", []),
        file_benchmark=pruning.get("benchmark", {}),
        training_cluster=cluster_of_training(spec.cluster),
        benchmark_cluster=cluster_of_benchmark(spec.cluster),
    )


def cluster_of_training(cluster: Cluster) -> dict[str, Any]:
    """What of the section concerns tasks that train: nothing of other tasks' pods.

    Args:
        cluster: The section.
    """
    return _kept(
        cluster, {"launcher", "image", "service_account", "runtime", "object_store", "workers"}
    )


def cluster_of_search(cluster: Cluster) -> dict[str, Any]:
    """What of the section concerns the task that searches.

    Args:
        cluster: The section.
    """
    return _kept(cluster, {"trials", "image", "service_account", "object_store", "workers"})


def cluster_of_benchmark(cluster: Cluster) -> dict[str, Any]:
    """What of the section concerns the task that measures.

    Args:
        cluster: The section.
    """
    placed = cluster.model_copy(update={"benchmark_image": benchmark_image_of(cluster)})
    return _kept(placed, {"benchmark", "benchmark_image", "service_account", "object_store"})


def benchmark_image_of(cluster: Cluster) -> str:
    """The image that measures on other nodes: where the section names none, the environment's.

    Args:
        cluster: The section.
    """
    if "benchmark_image" in cluster.model_fields_set:
        return cluster.benchmark_image
    return os.environ.get(BENCHMARK_IMAGE) or cluster.benchmark_image


def request_of(cluster: Cluster, step: Step) -> TaskRequest:
    """What the pod of a step asks for.

    Args:
        cluster: The section.
        step: The step.
    """
    return request_of_pods(cluster.pods_of(step.key, step.stage))


def request_of_pods(pods: TaskPods) -> TaskRequest:
    """The same of a section of pods.

    Args:
        pods: The section.
    """
    return TaskRequest(
        cpu=pods.cpu or "0",
        memory=pods.memory or "0",
        gpus=str(pods.gpus),
        node_selector=pods.selected,
        tolerations=[{key: value for key, value in each if value} for each in pods.tolerations],
    )


def check_tasks(spec: Spec, called: Callable[[str], str] = str) -> None:
    """Refuses names below cluster.tasks that are no step's of the job.

    Args:
        spec: The job.
        called: What messages call a key of it.

    Raises:
        UserError: If there is one.
    """
    steps = plan(spec)
    known = {step.key for step in steps} | {step.stage for step in steps}
    for name in spec.cluster.tasks:
        if name not in known:
            stages = ", ".join(dict.fromkeys(step.stage for step in steps))
            key = called(f"cluster.tasks.{name}")
            raise UserError(f"{key}: is no step of this job; use one of {stages}")


def _checked(form: Mapping[str, Any], kind: type[CompressForm]) -> tuple[Spec, str]:
    """The spec, and what changes where what it names does."""
    spec = spec_of(form, kind)
    check_tasks(spec, name_of)
    return spec, looked_up(spec, name_of)


def _requests(spec: Spec, tasks: Mapping[str, str]) -> dict[str, TaskRequest]:
    return {tasks[step.key]: request_of(spec.cluster, step) for step in plan(spec)}


def _kept(cluster: Cluster, names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in settings_document(cluster).items() if name in names}
