"""Waits for what runs on a cluster, and says in one line why it does not come to its end."""

import time
from collections.abc import Callable
from typing import Any

from kubernetes import client

# For so long a pod may wait for a node or an image before it counts as stuck.
PATIENCE_S = 20
_STUCK = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
)
_LAST_LINES = 5


class NotDone(AssertionError):
    """Something on the cluster failed or is stuck: one line says what and why."""


def wait_for_job(namespace: str, name: str, *, seconds: float) -> None:
    """Waits until a Job has succeeded.

    Raises:
        NotDone: If it fails, its pod is stuck, or time is up.
    """

    def state() -> str | None:
        status = client.BatchV1Api().read_namespaced_job_status(name, namespace).status
        ends = {c.type for c in status.conditions or [] if c.status == "True"} & {"Complete", "Failed"}
        return next(iter(ends), None)

    _wait(f"the job {name}", namespace, f"job-name={name}", state, "Complete", seconds)


def wait_for_mpijob(namespace: str, name: str, *, seconds: float) -> None:
    """Waits until an MPIJob has succeeded.

    Raises:
        NotDone: If it fails, one of its pods is stuck, or time is up.
    """

    def state() -> str | None:
        found: Any = client.CustomObjectsApi().get_namespaced_custom_object(
            "kubeflow.org", "v2beta1", namespace, "mpijobs", name
        )
        conditions = found.get("status", {}).get("conditions", [])
        ends = {c["type"] for c in conditions if c["status"] == "True"} & {"Succeeded", "Failed"}
        return next(iter(ends), None)

    selector = f"training.kubeflow.org/job-name={name}"
    _wait(f"the MPIJob {name}", namespace, selector, state, "Succeeded", seconds)


def why_stuck(pod: client.V1Pod) -> str | None:
    """Why a pod does not start; None where nothing keeps it."""
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{pod.metadata.name} waits for a node: {condition.message}"
    for container in pod.status.container_statuses or []:
        waiting = container.state.waiting
        if waiting and waiting.reason in _STUCK:
            return f"{pod.metadata.name} does not start: {waiting.reason}: {waiting.message}"
    return None


def _wait(
    what: str,
    namespace: str,
    selector: str,
    state: Callable[[], str | None],
    success: str,
    seconds: float,
) -> None:
    began = stuck_since = time.monotonic()
    while True:
        found = state()
        if found == success:
            return
        pods = client.CoreV1Api().list_namespaced_pod(namespace, label_selector=selector).items
        if found is not None:
            raise NotDone(f"{what} failed: {_last_words(pods)}")
        reason = next(filter(None, map(why_stuck, pods)), None)
        now = time.monotonic()
        stuck_since = stuck_since if reason else now
        if reason and now - stuck_since > PATIENCE_S:
            raise NotDone(f"{what} is stuck: {reason}")
        if now - began > seconds:
            raise NotDone(f"{what} is not done after {seconds:.0f} s: {_last_words(pods)}")
        time.sleep(0.5)


def _last_words(pods: list[client.V1Pod]) -> str:
    said = []
    for pod in pods:
        lines = logs(pod).strip().splitlines()[-_LAST_LINES:]
        said.append(f"{pod.metadata.name} ({pod.status.phase}): {' | '.join(lines)}")
    return "; ".join(said) or "it has no pod"


def logs(pod: client.V1Pod) -> str:
    """What a pod has written so far."""
    try:
        return client.CoreV1Api().read_namespaced_pod_log(pod.metadata.name, pod.metadata.namespace)
    except client.ApiException as error:
        return f"(no log: {error.reason})"
