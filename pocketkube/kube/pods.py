"""What keeps pods from starting, and what ended them, in one line."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pocketkube.kube.objects import EVENT, find, name_of
from pocketkube.kube.session import Session
from pocketkube.kube.transport import Document

_NO_IMAGE = (
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
)
# A container that waits for one of these does not start by itself, or not soon.
_NO_START = (
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    *_NO_IMAGE,
)


@dataclass(frozen=True)
class Stuck:
    """Why something does not start.

    Attributes:
        what: The pod, or the object that should have pods.
        reason: Kubernetes's word: Unschedulable, ImagePullBackOff, FailedMount, FailedCreate, …
        said: Its sentence.
    """

    what: str
    reason: str
    said: str

    def __str__(self) -> str:
        if self.reason == "Unschedulable":
            return f"{self.what} waits for a node: {self.said}"
        if self.reason in _NO_IMAGE:
            return f"{self.what} cannot have its image ({self.reason}): {self.said}"
        return f"{self.what} does not start ({self.reason}): {self.said}"


@dataclass(frozen=True)
class Ending:
    """Why a pod ended, by the container that decided it.

    Attributes:
        pod: Its name.
        container: The container's name; empty if the pod was ended as a whole.
        reason: Kubernetes's word: Completed, Error, OOMKilled, Evicted, …; Deleted if somebody did.
        exit_code: The container's; None if it has none.
        said: More of it in Kubernetes's words, or the memory's limit; may be empty.
    """

    pod: str
    container: str
    reason: str
    exit_code: int | None
    said: str

    @property
    def is_success(self) -> bool:
        """Whether it came to its end by itself, with exit code 0."""
        return self.reason == "Completed"

    @property
    def signal(self) -> int | None:
        """The signal that ended it, by its exit code; None if there was none."""
        code = self.exit_code or 0
        return code - 128 if code - 128 in set(signal.Signals) else None

    def __str__(self) -> str:
        more = f": {self.said}" if self.said else ""
        if not self.container:
            was = "was deleted" if self.reason == "Deleted" else f"was ended ({self.reason})"
            return f"pod {self.pod} {was}{more}"
        who = f"container {self.container} of pod {self.pod}"
        if self.is_success:
            return f"{who} has completed"
        if self.reason == "OOMKilled":
            return f"{who} was killed for memory (OOMKilled){more}"
        if self.signal:
            return f"{who} was ended by {signal.Signals(self.signal).name}{more}"
        if self.reason == "Error":
            return f"{who} ended with exit code {self.exit_code}{more}"
        return f"{who} ended with exit code {self.exit_code} ({self.reason}){more}"


def why_stuck(session: Session, pod: Document) -> Stuck | None:
    """Why a pod does not start; None where nothing that is known keeps it.

    What it says may pass: a node may come, an image may be pushed. How long to wait is the caller's to
    know.

    Args:
        session: The cluster, and the pod's namespace; asked for events where the pod does not tell.
        pod: The pod as it is now.
    """
    what, status = f"pod {name_of(pod)}", pod.get("status", {})
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Stuck(what, condition.get("reason", ""), condition.get("message", ""))
    for container in _containers(pod):
        waiting = container.get("state", {}).get("waiting")
        if not waiting or container.get("started"):
            continue
        reason, said = waiting.get("reason", ""), waiting.get("message", "")
        if reason == "CrashLoopBackOff" and (last := container.get("lastState", {}).get("terminated")):
            said = f"{_ending(pod, container['name'], last)}; started {container['restartCount']} times"
        if reason in _NO_START:
            return Stuck(what, reason, said or f"container {container['name']}")
    if status.get("phase", "Pending") == "Pending":
        # A volume, a secret or a network that is not to be had.
        return _last_warning(session, what, pod)
    return None


def why_no_pods(session: Session, owner: Document) -> Stuck | None:
    """Why a Job, an MPIJob or the like does not get its pods, as for a quota; None where nothing tells.

    Args:
        session: The cluster, and the owner's namespace.
        owner: The object whose controller creates pods.
    """
    return _last_warning(session, f"{owner['kind']} {name_of(owner)}", owner)


def why_ended(pod: Document) -> Ending | None:
    """Why a pod ended; None while it has not.

    Args:
        pod: The pod as it is now, or as it was last seen.
    """
    status, metadata = pod.get("status", {}), pod["metadata"]
    name, ended = metadata["name"], [*_ended(pod)]
    # One that had ended before it was removed ended by itself.
    if "deletionTimestamp" in metadata:
        asked = _time(metadata["deletionTimestamp"]) - timedelta(
            seconds=metadata.get("deletionGracePeriodSeconds", 0)
        )
        finished = [_time(state["finishedAt"]) for _, state in ended if state.get("finishedAt")]
        if status.get("phase") not in ("Succeeded", "Failed") or max(finished, default=asked) >= asked:
            disruption = _disruption(pod)
            return disruption or Ending(name, "", "Deleted", None, "")
    if status.get("phase") not in ("Succeeded", "Failed"):
        return None
    if disruption := _disruption(pod):
        return disruption
    if status.get("reason"):
        return Ending(name, "", status["reason"], None, status.get("message", ""))
    endings = [_ending(pod, container, state) for container, state in ended]
    failed = [ending for ending in endings if not ending.is_success]
    return next(iter(failed or endings[-1:]), Ending(name, "", status["phase"], None, ""))


def _disruption(pod: Document) -> Ending | None:
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            reason, said = condition.get("reason", "Disrupted"), condition.get("message", "")
            return Ending(name_of(pod), "", reason, None, said)
    return None


def _ended(pod: Document) -> Iterator[tuple[str, Document]]:
    """The containers that have ended, and how."""
    for container in _containers(pod):
        if state := container.get("state", {}).get("terminated"):
            yield container["name"], state


def _ending(pod: Document, container: str, state: Document) -> Ending:
    reason, said = state.get("reason", "Error"), state.get("message", "")
    if reason == "OOMKilled" and (limit := _memory_limit(pod, container)):
        said = f"its limit is {limit}"
    last_line = said.strip().rpartition("\n")[2]
    return Ending(name_of(pod), container, reason, state["exitCode"], last_line)


def _memory_limit(pod: Document, name: str) -> str | None:
    spec = pod["spec"]
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        if container["name"] == name:
            return container.get("resources", {}).get("limits", {}).get("memory")
    return None


def _containers(pod: Document) -> Iterator[Document]:
    """The states of a pod's containers, those that run first first."""
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses", ())
    yield from status.get("containerStatuses", ())


def _last_warning(session: Session, what: str, document: Document) -> Stuck | None:
    fields = f"involvedObject.uid={document['metadata']['uid']},type=Warning"
    events = sorted(find(session, EVENT, fields=fields), key=_when)
    if not events:
        return None
    return Stuck(what, events[-1].get("reason", ""), events[-1].get("message", ""))


def _when(event: Document) -> datetime:
    written = event.get("lastTimestamp") or event.get("eventTime")
    return _time(written or event["metadata"]["creationTimestamp"])


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
