"""How far a run's tasks are, read from the Argo workflow that a back end keeps for it."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pocketkube.bounded.streams import inflated

# Templates that KFP's compiler makes: a task, the pod that does its work, and those that prepare it.
_TASK, _WORK = "system-container-executor", "system-container-impl"
_ATTEMPT = re.compile(r"\(\d+\)$")
# What Argo says of a pod that is on its way.
_USUAL = ("", "PodInitializing", "ContainerCreating")
# Kubernetes keeps no object that is larger than a megabyte and a half, packed as it is.
_LARGEST_NODES = 1 << 26


class State(StrEnum):
    """How far a task is."""

    WAITING = "waiting"
    RUNNING = "running"
    CACHED = "cached"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class TaskProgress:
    """A task of a run.

    Attributes:
        key: Tells it from the others, in loops, too.
        name: Its name in the pipeline.
        state: How far it is.
        seconds: How long its last pod worked, or has worked so far.
        attempts: How many pods it has had.
        said: Why its pod waits or has failed, in Argo's words; may be empty.
    """

    key: str
    name: str
    state: State
    seconds: float
    attempts: int
    said: str


@dataclass(frozen=True)
class FailedPod:
    """A pod whose failure failed the run.

    Attributes:
        task: The task's name in the pipeline.
        is_work: Whether it did the task's work, and was not one that prepares it.
        pod: Its name.
        node: Argo's id of it.
        said: What Argo says of it.
    """

    task: str
    is_work: bool
    pod: str
    node: str
    said: str


@dataclass(frozen=True)
class Workflow:
    """A run's Argo workflow.

    Attributes:
        name: Its name.
        namespace: Where its pods are.
        message: What Argo says of it as a whole; may be empty.
        nodes: What has become of each of its parts.
        has_old_names: Whether its pods have Argo's ids as names.
    """

    name: str
    namespace: str
    message: str
    nodes: tuple["_Node", ...]
    has_old_names: bool


@dataclass(frozen=True)
class _Node:
    id: str
    path: str
    display_name: str
    type: str
    template: str
    phase: str
    message: str
    started: datetime | None
    finished: datetime | None


def workflow_of(manifest: str) -> Workflow:
    """Reads a workflow's manifest.

    Raises:
        ValueError: If it is none.
    """
    document = json.loads(manifest)
    metadata, status = document.get("metadata", {}), document.get("status", {})
    annotations = metadata.get("annotations") or {}
    return Workflow(
        name=metadata.get("name", ""),
        namespace=metadata.get("namespace", ""),
        message=status.get("message") or "",
        nodes=tuple(map(_node, _nodes_of(status).values())),
        has_old_names=annotations.get("workflows.argoproj.io/pod-name-format") == "v1",
    )


def tasks_of(workflow: Workflow, now: datetime) -> tuple[TaskProgress, ...]:
    """The tasks that have begun, in the order in which they did."""
    tasks = [node for node in workflow.nodes if _is_task(node)]
    tasks.sort(key=lambda node: (node.started or now, node.path))
    return tuple(_progress(node, workflow, now) for node in tasks)


def failed_pods(workflow: Workflow) -> tuple[FailedPod, ...]:
    """The pods that failed and were not made good by another attempt, the first one first."""
    failed = [
        node
        for node in workflow.nodes
        if node.type == "Pod" and node.phase in ("Failed", "Error") and not _made_good(node, workflow)
    ]
    # Of several the first has the cause; what prepares others fails in consequence.
    failed.sort(key=lambda node: (node.finished is None, node.finished, node.path))
    return tuple(
        FailedPod(
            task=_task_name(node),
            is_work=node.template.endswith(_WORK),
            pod=_pod_name(node, workflow),
            node=node.id,
            said=node.message,
        )
        for node in failed
    )


def _nodes_of(status: Mapping[str, Any]) -> Mapping[str, Any]:
    # Argo packs them as soon as the whole workflow has more than 1 MiB, in the middle of a run.
    if packed := status.get("compressedNodes"):
        return json.loads(inflated(base64.b64decode(packed), _LARGEST_NODES, gzipped=True)) or {}
    return status.get("nodes") or {}


def _node(document: Mapping[str, Any]) -> _Node:
    return _Node(
        id=document["id"],
        path=document["name"],
        display_name=document.get("displayName", ""),
        type=document.get("type", ""),
        template=document.get("templateName", ""),
        phase=document.get("phase", ""),
        message=document.get("message") or "",
        started=_time(document.get("startedAt")),
        finished=_time(document.get("finishedAt")),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _is_task(node: _Node) -> bool:
    # Where a template is retried, each attempt is a node below it.
    return node.template.endswith(_TASK) and not _ATTEMPT.search(node.display_name)


def _progress(task: _Node, workflow: Workflow, now: datetime) -> TaskProgress:
    parts = list(_below(task, workflow))
    pods = sorted((n for n in parts if n.type == "Pod"), key=lambda node: node.started or now)
    last = pods[-1] if pods else None
    seconds = ((last.finished or now) - last.started).total_seconds() if last and last.started else 0.0
    return TaskProgress(
        key=task.path,
        name=task.display_name,
        state=_state(task, parts, last),
        seconds=max(0.0, seconds),
        attempts=len(pods),
        said=last.message if last and last.message not in _USUAL else "",
    )


def _state(task: _Node, parts: list[_Node], last: _Node | None) -> State:
    if task.phase in ("Failed", "Error"):
        return State.FAILED
    if task.phase == "Succeeded":
        was_skipped = any(node.template.endswith(_WORK) and node.phase == "Skipped" for node in parts)
        return State.CACHED if was_skipped else State.DONE
    return State.RUNNING if last and last.phase != "Pending" else State.WAITING


def _below(task: _Node, workflow: Workflow) -> Iterator[_Node]:
    for node in workflow.nodes:
        rest = node.path.removeprefix(task.path)
        if rest != node.path and rest[:1] in ("(", "."):
            yield node


def _made_good(node: _Node, workflow: Workflow) -> bool:
    whole = _ATTEMPT.sub("", node.path)
    return whole != node.path and any(
        n.path == whole and n.phase == "Succeeded" for n in workflow.nodes
    )


def _task_name(node: _Node) -> str:
    """The name of the task that a pod belongs to: its own, or that of the part it is in."""
    if node.template.endswith(_WORK):
        return _ATTEMPT.sub("", node.path.rpartition(".")[0]).rpartition(".")[2]
    return _ATTEMPT.sub("", node.display_name).removesuffix("-driver")


def _pod_name(node: _Node, workflow: Workflow) -> str:
    if workflow.has_old_names:
        return node.id
    return f"{workflow.name}-{node.template}-{node.id.rpartition('-')[2]}"
