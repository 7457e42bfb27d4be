"""Runs a call on nodes of a cluster that are other machines than this one: a Job measures there."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from pocketkube.errors import UserError
from pocketkube.kube.benchmark_job import CONTAINER, Measurement, benchmark_job, longest_s
from pocketkube.kube.failures import NotInTime
from pocketkube.kube.logs import follow_log
from pocketkube.kube.objects import JOB, POD, delete, find, get, met_condition
from pocketkube.kube.own_pod import own_pod
from pocketkube.kube.pods import Ending, Stuck, why_ended, why_no_pods, why_stuck
from pocketkube.kube.session import Session
from pocketkube.kube.transport import Document
from pocketkube.kube.watching import watch_with_pauses
from pocketkube.launch.cluster_jobs import EndsWhenFollowed, start_or_adopt, store_of
from pocketkube.launch.endings import cause_of_waiting
from pocketkube.launch.job import Call
from pocketkube.launch.outcome import Cause, Outcome, outcome_of_process
from pocketkube.spec.sections import Cluster

_LINES_KEPT = 200
_LOOK_S = 2.0
# A log's last lines come a moment after its container's end.
_LOG_S = 20.0
# What the Job's own deadline does not end, as where its controller is away.
_GRACE_S = 120.0
# Kubernetes's word for a Job, and for a pod, that has come to its deadline.
_TOO_LONG = "DeadlineExceeded"


class NodePool:
    """Runs each call as a Job on the nodes that cluster.benchmark asks for.

    Args:
        session: The cluster and the namespace.
        cluster: The nodes, the image, and the object store's Secret.
        name: The Job's name, which no other call has: where it is there, it is followed and not made a
            second time. One that has ended is replaced.
        nodes: On how many nodes; `benchmark_job.INDEX` in the call's places stands for each one's
            number.
    """

    def __init__(self, session: Session, cluster: Cluster, name: str, nodes: int) -> None:
        self._session, self._cluster, self._name, self._nodes = session, cluster, name, nodes

    def start(self, call: Call) -> "NodePoolJob":
        """See `Launcher`; places that the call names have to be reached from the Job's pods.

        Raises:
            UserError: If the API server refuses, or stays away.
        """
        pod = own_pod(self._session)
        work = Measurement(
            name=self._name,
            stage=call.stage,
            argv=call.argv(),
            environment={**store_of(self._cluster), **self._cluster.benchmark.environment},
            nodes=self._nodes,
            owner=pod.owner if pod else None,
        )
        created = start_or_adopt(self._session, benchmark_job(work, self._cluster), _has_ended)
        return NodePoolJob(
            self._session, self._cluster, created.document, is_adopted=not created.is_new
        )


@dataclass
class _Followed:
    """A pod whose log is followed."""

    pod: Document
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    reader: threading.Thread | None = None

    @property
    def node(self) -> str:
        return str(self.pod["spec"].get("nodeName") or self.pod["metadata"]["name"])


class NodePoolJob(EndsWhenFollowed):
    """A Job that measures; see `Job`. Each line has its node before it.

    Attributes:
        name: Its name.

    Args:
        session: The cluster, and the Job's namespace.
        cluster: How long it may take, and wait.
        document: The Job.
        is_adopted: Whether it was there before.
    """

    def __init__(
        self, session: Session, cluster: Cluster, document: Document, *, is_adopted: bool
    ) -> None:
        self.name: str = document["metadata"]["name"]
        self._uid = document["metadata"]["uid"]
        self._session, self._asked, self._is_adopted = session, cluster.benchmark, is_adopted
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._pods: dict[str, _Followed] = {}
        self._waited_for: Stuck | None = None
        self._has_run = False

    def follow(self) -> Iterator[str]:
        """See `Job`."""
        if self._outcome is not None:
            return
        what = "is there already, and followed" if self._is_adopted else "is created"
        yield f"Job {self.name} {what}"
        seconds = longest_s(self._asked) + _GRACE_S
        stuck_since: float | None = None
        for seen in watch_with_pauses(
            self._session, POD, labels=self._labels, seconds=seconds, pause_s=_LOOK_S
        ):
            if seen is not None:
                self._note(seen.document)
            yield from self._said()
            if seen is not None:
                continue
            job = get(self._session, JOB, self.name)
            if job is None or job["metadata"]["uid"] != self._uid:
                reason = f"Job {self.name} was deleted while it ran."
                self._outcome = Outcome(1, Cause.INTERRUPTED, reason)
                return
            if _has_ended(job):
                self._join()
                yield from self._said()
                self._outcome = self._done() if met_condition(job, "Complete") else self._failure(job)
                return
            # The Job would try again for what time is left to it.
            if self._is_late:
                break
            stuck = self._why_waiting(job)
            stuck_since = None if stuck is None else stuck_since or time.monotonic()
            if stuck is not None and str(stuck) != str(self._waited_for):
                self._waited_for = stuck
                yield f"waits: {stuck}"
            if stuck and stuck_since and time.monotonic() - stuck_since > self._asked.pending_seconds:
                self._outcome = _unstarted(stuck)
                self._delete()
                return
        self._outcome = self._late()
        self._delete()

    def cancel(self) -> None:
        """See `Job`; its pods go with it."""
        if self._outcome is None:
            self._outcome = Outcome(143, Cause.INTERRUPTED, "It was cancelled.")
            self._delete()

    @property
    def _labels(self) -> str:
        return f"batch.kubernetes.io/controller-uid={self._uid}"

    def _note(self, pod: Document) -> None:
        followed = self._pods.setdefault(pod["metadata"]["name"], _Followed(pod))
        followed.pod = pod
        states = [each["state"] for each in pod["status"].get("containerStatuses", ())]
        self._has_run |= any("running" in state or "terminated" in state for state in states)
        if followed.reader is None and pod["spec"].get("nodeName"):
            # A reader that waits for a node that went must not keep this process.
            followed.reader = threading.Thread(target=self._read, args=(followed,), daemon=True)
            followed.reader.start()

    def _read(self, followed: _Followed) -> None:
        name, seconds = followed.pod["metadata"]["name"], 60.0 * self._asked.timeout_minutes
        with suppress(UserError):
            for line in follow_log(self._session, name, CONTAINER, seconds=seconds):
                followed.lines.append(line.text)
                if line.text.strip() and not line.text.startswith(UserError.PREFIX):
                    self._lines.put(f"[{followed.node}] {line.text}")

    def _said(self) -> Iterator[str]:
        with suppress(Empty):
            while True:
                yield self._lines.get_nowait()

    def _join(self) -> None:
        ends = time.monotonic() + _LOG_S
        for followed in self._pods.values():
            if followed.reader:
                followed.reader.join(max(0, ends - time.monotonic()))

    def _why_waiting(self, job: Document) -> Stuck | None:
        """What keeps a pod that there should be from starting."""
        waiting = [each.pod for each in self._pods.values() if why_ended(each.pod) is None]
        for pod in waiting:
            if stuck := why_stuck(self._session, pod):
                return stuck
        # A quota may let some of them be made.
        is_whole = len(self._pods) >= job["spec"].get("completions", 1)
        return None if is_whole else why_no_pods(self._session, job)

    def _done(self) -> Outcome:
        """The Job is of no more use: what it made is on the object store."""
        self._delete()
        return Outcome(0, Cause.DONE)

    def _failure(self, job: Document) -> Outcome:
        """The Job stays for a while, for people to look at."""
        for pod in find(self._session, POD, self._labels):
            self._note(pod)
        condition = met_condition(job, "Failed") or {}
        if self._is_late or condition.get("reason") == _TOO_LONG:
            return self._late()
        ended = [
            (followed, ending)
            for followed in self._pods.values()
            if (ending := why_ended(followed.pod)) and not ending.is_success
        ]
        if not ended:
            said = condition.get("message") or condition.get("reason", "")
            return Outcome(1, Cause.FAULT, f"Job {self.name} failed: {said}.")
        # What a pod refuses says more than that others were ended with it.
        return _of_pod(*min(ended, key=lambda pair: pair[1].exit_code != UserError.EXIT_CODE))

    @property
    def _is_late(self) -> bool:
        """Whether a pod has measured for longer than it may."""
        endings = (why_ended(followed.pod) for followed in self._pods.values())
        return any(ending is not None and ending.reason == _TOO_LONG for ending in endings)

    def _late(self) -> Outcome:
        if self._waited_for and not self._has_run:
            return _unstarted(self._waited_for)
        minutes = self._asked.timeout_minutes
        reason = f"Measuring took longer than cluster.benchmark.timeout_minutes, {minutes}."
        return Outcome(1, Cause.TIME_OUT, reason)

    def _delete(self) -> None:
        # What came of it is known already, and the pod of a node that is gone takes its time.
        with suppress(NotInTime):
            delete(self._session, JOB, self.name)


def _unstarted(stuck: Stuck) -> Outcome:
    return Outcome(1, cause_of_waiting(stuck), f"Nothing was measured: {stuck}.")


def _of_pod(followed: _Followed, ending: Ending) -> Outcome:
    if ending.reason == "OOMKilled":
        more = "give cluster.benchmark.memory more"
        return Outcome(
            137, Cause.OUT_OF_MEMORY, f"Memory ran out on {followed.node}: {ending}; {more}."
        )
    if ending.exit_code is None:
        return Outcome(1, Cause.NODE_LOST, f"On {followed.node}, {ending}.")
    found = outcome_of_process(ending.exit_code, list(followed.lines), oom_killed=False)
    if found.cause in (Cause.USER_ERROR, Cause.BAD_DATA):
        return found
    return Outcome(found.exit_code, found.cause, f"On {followed.node}: {found.reason}")


def _has_ended(job: Document) -> bool:
    return met_condition(job, "Complete", "Failed") is not None
