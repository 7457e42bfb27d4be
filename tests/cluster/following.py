"""Waits for what runs on a cluster, and says in one line why it does not come to its end."""

import time

from pocketkube.kube import Session, connect
from pocketkube.kube.logs import last_lines
from pocketkube.kube.objects import JOB, POD, Kind, find, name_of
from pocketkube.kube.pods import why_stuck
from pocketkube.kube.transport import Document
from pocketkube.kube.watching import watch_with_pauses

MPIJOB = Kind("kubeflow.org/v2beta1", "MPIJob")
# For so long a pod may wait for a node or an image before it counts as stuck.
PATIENCE_S = 20
_PAUSE_S = 2
_LAST_LINES = 5


class NotDone(AssertionError):
    """Something on the cluster failed or is stuck: one line says what and why."""


def wait_for_job(namespace: str, name: str, *, seconds: float) -> None:
    """Waits until a Job has succeeded.

    Raises:
        NotDone: If it fails, its pod is stuck, or time is up.
    """
    _wait(namespace, JOB, name, f"job-name={name}", "Complete", seconds)


def wait_for_mpijob(namespace: str, name: str, *, seconds: float) -> None:
    """Waits until an MPIJob has succeeded.

    Raises:
        NotDone: If it fails, one of its pods is stuck, or time is up.
    """
    _wait(namespace, MPIJOB, name, f"training.kubeflow.org/job-name={name}", "Succeeded", seconds)


def _wait(namespace: str, kind: Kind, name: str, selector: str, success: str, seconds: float) -> None:
    what, session, stuck_since = f"the {kind.name} {name}", connect(namespace), time.monotonic()
    for seen in watch_with_pauses(session, kind, name=name, seconds=seconds, pause_s=_PAUSE_S):
        conditions = seen.document.get("status", {}).get("conditions", ()) if seen else ()
        ends = {condition["type"] for condition in conditions if condition["status"] == "True"}
        if success in ends:
            return
        pods = find(session, POD, selector)
        if "Failed" in ends:
            raise NotDone(f"{what} failed: {_last_words(session, pods)}")
        stuck = next(filter(None, (why_stuck(session, pod) for pod in pods)), None)
        stuck_since = stuck_since if stuck else time.monotonic()
        if time.monotonic() - stuck_since > PATIENCE_S:
            raise NotDone(f"{what} is stuck: {stuck}")
    pods = find(session, POD, selector)
    raise NotDone(f"{what} is not done after {seconds:.0f} s: {_last_words(session, pods)}")


def _last_words(session: Session, pods: tuple[Document, ...]) -> str:
    said = [
        f"{name_of(pod)} ({pod['status'].get('phase')}): "
        + " | ".join(last_lines(session, name_of(pod), count=_LAST_LINES))
        for pod in pods
    ]
    return "; ".join(said) or "it has no pod"
