"""Asks a Kubeflow Pipelines back end, by its own client, what its runs and their pods do."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp
from kubernetes import client

# Of one task's pod, in the annotation that Argo gives it: run(0).root(0).TASK(0).executor(0).
_NODE = "workflows.argoproj.io/node-name"
_TASK = re.compile(r"\.(?P<task>[^.]+)\(\d+\)\.executor\b")
_SUCCESS, _FAILURE = {"SUCCEEDED", "COMPLETE"}, {"FAILED", "CANCELED"}


@dataclass(frozen=True)
class Backend:
    """A back end.

    Attributes:
        client: KFP's client of it.
        endpoint: Its address.
        namespace: Where its pods run.
    """

    client: Any
    endpoint: str
    namespace: str


def connect(endpoint: str, namespace: str) -> Backend:
    """Looks whether a back end answers.

    Args:
        endpoint: Its address, as in http://10.77.0.2:8888.
        namespace: Where its pods run.

    Raises:
        Exception: If it does not; KFP's client has no type for that.
    """
    found = kfp.Client(host=endpoint, namespace=namespace)
    found.get_kfp_healthz()
    return Backend(found, endpoint, namespace)


def start(backend: Backend, package: Path, arguments: Mapping[str, Any]) -> str:
    """Starts a compiled pipeline.

    Args:
        backend: The back end.
        package: The pipeline's IR YAML.
        arguments: Its parameters.

    Returns:
        The run's id.
    """
    started = backend.client.create_run_from_pipeline_package(
        str(package), arguments=dict(arguments), experiment_name="pocketkube-tests"
    )
    return str(started.run_id)


def wait(backend: Backend, run: str, *, seconds: float) -> str:
    """Waits for a run's end.

    Returns:
        "succeeded" or "failed".

    Raises:
        AssertionError: If time is up; tells which pods there are.
    """

    def ended() -> str | None:
        state = backend.client.get_run(run).state
        return "succeeded" if state in _SUCCESS else "failed" if state in _FAILURE else None

    return until(ended, lambda: f"the run {run} goes on: {_shown(backend, run)}", seconds=seconds)


def executors(backend: Backend, run: str) -> dict[str, client.V1Pod]:
    """The pods that have run the tasks of a run so far: the last one of each, by the task's name."""
    pods = client.CoreV1Api().list_namespaced_pod(
        backend.namespace, label_selector=f"pipeline/runid={run}"
    )
    found = {}
    for pod in sorted(pods.items, key=lambda pod: pod.metadata.creation_timestamp):
        named = _TASK.search((pod.metadata.annotations or {}).get(_NODE, ""))
        if named:
            found[named["task"]] = pod
    return found


def last_line(pod: client.V1Pod) -> str:
    """The last line that a task's own program wrote, without what Argo and the launcher add."""
    log = client.CoreV1Api().read_namespaced_pod_log(
        pod.metadata.name, pod.metadata.namespace, container="main"
    )
    lines = [line for line in log.splitlines() if line.strip()]
    return next(line for line in reversed(lines) if line.startswith("pocketkube: "))


def until(found: Callable[[], Any], told: Callable[[], str], *, seconds: float) -> Any:
    """Asks again and again.

    Args:
        found: What is waited for, or None or False.
        told: Says how far it is.
        seconds: For how long.

    Raises:
        AssertionError: If it does not come.
    """
    ends = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < ends, told()
        time.sleep(1)
    return answer


def _shown(backend: Backend, run: str) -> str:
    return ", ".join(f"{task} {pod.status.phase}" for task, pod in executors(backend, run).items())
