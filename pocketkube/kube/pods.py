"""What keeps pods from starting, and what ended them, in one line."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pocketkube.kube.objects import EVENT, Kind, find, met_condition, name_of
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
# Why a pod that has its node still waits; events tell it, and nothing else does.
_NOT_PREPARED = (
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "FailedMapVolume",
    "FailedMount",
    "NetworkNotReady",
)
_ENDED_BY_DELETION = (128 + signal.SIGTERM, 128 + signal.SIGKILL)


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
    if status.get("phase", "Pending") == "Pending" and (events := _events(session, pod)):
        # Whatever came after a warning shows that it has passed.
        reason, said = events[-1].get("reason", ""), events[-1].get("message", "")
        if reason in _NOT_PREPARED:
            return Stuck(what, reason, said)
    return None


def why_no_pods(session: Session, owner: Document) -> Stuck | None:
    """Why a Job, an MPIJob or the like does not get its pods, as for a quota; None where nothing tells.

    Args:
        session: The cluster, and the owner's namespace.
        owner: The object whose controller creates pods.
    """
    warnings = [event for event in _events(session, owner) if event.get("type") == "Warning"]
    if not warnings:
        return None
    reason, said = warnings[-1].get("reason", ""), warnings[-1].get("message", "")
    return Stuck(f"{owner['kind']} {name_of(owner)}", reason, said)


def nothing_happens(kind: Kind, name: str, session: Session) -> Stuck:
    """What keeps an object that has no pods, where nobody tells why: its controller may not be there.

    Args:
        kind: Its kind, whose controller creates pods.
        name: Its name.
        session: The cluster, and its namespace.
    """
    return Stuck(
        f"{kind.name} {name}",
        "NoPods",
        "nothing is made of it, and nothing says why: its controller may not run, or not look after "
        f"the namespace {session.namespace}",
    )


def why_ended(pod: Document) -> Ending | None:
    """Why a pod ended; None while it has not.

    Args:
        pod: The pod as it is now, or was last seen. The first state with an answer tells best: from
            the last one alone, a program that ended when it was told to looks as if it had by itself.
    """
    status, metadata = pod.get("status", {}), pod["metadata"]
    name = metadata["name"]
    if "deletionTimestamp" in metadata and not _ended_before_it_was_deleted(pod):
        return _disruption(pod) or Ending(name, "", "Deleted", None, "")
    if status.get("phase") not in ("Succeeded", "Failed"):
        return None
    if disruption := _disruption(pod):
        return disruption
    if status.get("reason"):
        return Ending(name, "", status["reason"], None, status.get("message", ""))
    endings = [_ending(pod, container, state) for container, state in _ended(pod)]
    failed = [ending for ending in endings if not ending.is_success]
    return next(iter(failed or endings[-1:]), Ending(name, "", status["phase"], None, ""))


def _ended_before_it_was_deleted(pod: Document) -> bool:
    if pod["status"].get("phase") not in ("Succeeded", "Failed"):
        return False
    metadata, states = pod["metadata"], [state for _, state in _ended(pod)]
    asked = _time(metadata["deletionTimestamp"]) - timedelta(
        seconds=metadata.get("deletionGracePeriodSeconds", 0)
    )
    return all(
        # The end of a deletion sets its time anew; its signals are told by the exit code.
        _time(state["finishedAt"]) < asked
        and (state.get("reason") != "Error" or state["exitCode"] not in _ENDED_BY_DELETION)
        for state in states
        if state.get("finishedAt")
    )


def _disruption(pod: Document) -> Ending | None:
    condition = met_condition(pod, "DisruptionTarget")
    if condition is None:
        return None
    reason, said = condition.get("reason", "Disrupted"), condition.get("message", "")
    return Ending(name_of(pod), "", reason, None, said)


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


def _events(session: Session, document: Document) -> list[Document]:
    """What Kubernetes noted about an object, the last at the end."""
    return sorted(
        find(session, EVENT, fields=f"involvedObject.uid={document['metadata']['uid']}"), key=_when
    )


def _when(event: Document) -> datetime:
    written = event.get("lastTimestamp") or event.get("eventTime")
    return _time(written or event["metadata"]["creationTimestamp"])


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written)
