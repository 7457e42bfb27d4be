"""Runs a call on nodes of a cluster that are other machines than this one: a Job measures there."""

import os
import queue
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pocketkube.errors import UserError
from pocketkube.kube.benchmark_job import CONTAINER, INDEX, Measurement, Owner, benchmark_job
from pocketkube.kube.logs import follow_log
from pocketkube.kube.objects import JOB, POD, create, delete, find, get
from pocketkube.kube.pods import Ending, why_ended, why_no_pods, why_stuck
from pocketkube.kube.session import Session, is_pod
from pocketkube.kube.transport import Document
from pocketkube.kube.watching import watch_with_pauses
from pocketkube.launch.exchange import Exchange, fingerprint
from pocketkube.launch.outcome import Cause, Outcome, outcome_of_process
from pocketkube.spec.sections import Cluster

ENDPOINT = "AWS_ENDPOINT_URL_S3"
_REGION = "AWS_REGION"
_LINES_KEPT = 200
_PAUSE_S = 1.0
# A log's last lines come a moment after its container's end.
_LOG_GRACE_S = 20.0


class PlacedCall(Protocol):
    """A call whose inputs and output are folders of this machine, as `stages.call.StageCall` is one."""

    @property
    def stage(self) -> str:
        """The stage's name."""

    @property
    def shared(self) -> bool:
        """Whether several processes can share the stage's work."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """By their names, the folders that it reads."""

    @property
    def output(self) -> str:
        """The folder that it writes."""

    def argv(self) -> list[str]:
        """The call as the words after `pocketkube`."""

    def at(self, inputs: Mapping[str, str], output: str) -> "PlacedCall":
        """The same call of other places."""


class NodePool:
    """Runs each call as a Job on the nodes that cluster.benchmark asks for.

    Inputs are sent to cluster.object_store.work, what the pods make is brought back from there and
    merged, and both are removed. A Job that was begun for the same call goes on: its name follows from
    the command and the content of what it reads.

    Args:
        session: The cluster.
        cluster: The nodes, the image and the object store.
        merge: Makes the call's output, which it is given last, of the folders that each node has made.
        nodes: On how many nodes, at most cluster.benchmark.nodes.
    """

    def __init__(
        self,
        session: Session,
        cluster: Cluster,
        merge: Callable[[Sequence[Path], Path], None],
        nodes: int,
    ) -> None:
        self._session, self._cluster = session, cluster
        self._merge, self._nodes = merge, nodes

    def start(self, call: PlacedCall) -> "NodePoolJob":
        """See `Launcher`.

        Raises:
            UserError: If the object store or the API server refuses, or stays away.
        """
        folders = {name: Path(place) for name, place in call.inputs.items()}
        wanted = [*call.argv(), self._cluster.benchmark_image, str(self._nodes)]
        name = f"{call.stage.replace('_', '-')}-{fingerprint(wanted, folders)}"
        exchange = Exchange(f"{self._cluster.object_store.work}/{name}")
        job = NodePoolJob(
            self._session, self._cluster, name, exchange, self._nodes, Path(call.output), self._merge
        )
        found = get(self._session, JOB, name)
        if found is not None and _is(found, "Failed"):
            delete(self._session, JOB, name)
            found = None
        if found is not None:
            print(f"job={name} goes on: it was begun before", file=sys.stderr, flush=True)
            return job
        exchange.send(folders)
        there = call.at(exchange.inputs(folders), exchange.output(INDEX))
        work = Measurement(
            name=name,
            stage=call.stage,
            argv=there.argv(),
            environment={**_store(self._cluster), **self._cluster.benchmark.environment},
            nodes=self._nodes,
            owner=own_pod(self._session),
        )
        create(self._session, benchmark_job(work, self._cluster))
        print(f"job={name} nodes={self._nodes}", file=sys.stderr, flush=True)
        return job


def own_pod(session: Session) -> Owner | None:
    """The pod that this process is in; None elsewhere."""
    if not is_pod():
        return None
    found = get(session, POD, socket.gethostname())
    return Owner("v1", "Pod", found["metadata"]["name"], found["metadata"]["uid"]) if found else None


def _store(cluster: Cluster) -> dict[str, str]:
    """What tells pods the object store: where it is for this process, unless the spec says."""
    endpoint = cluster.object_store.endpoint or os.environ.get(ENDPOINT, "")
    told = {ENDPOINT: endpoint, _REGION: os.environ.get(_REGION, "")}
    return {name: value for name, value in told.items() if value}


@dataclass
class _Followed:
    """A pod whose log is followed."""

    pod: Document
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    reader: threading.Thread | None = None

    @property
    def node(self) -> str:
        return str(self.pod["spec"].get("nodeName") or self.pod["metadata"]["name"])


class NodePoolJob:
    """A Job that measures; see `Job`. Each line has its node before it."""

    def __init__(
        self,
        session: Session,
        cluster: Cluster,
        name: str,
        exchange: Exchange,
        nodes: int,
        output: Path,
        merge: Callable[[Sequence[Path], Path], None],
    ) -> None:
        self.name = name
        self._session, self._cluster = session, cluster
        self._exchange, self._nodes, self._output, self._merge = exchange, nodes, output, merge
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._pods: dict[str, _Followed] = {}
        self._outcome: Outcome | None = None

    def follow(self) -> Iterator[str]:
        """See `Job`."""
        if self._outcome is not None:
            return
        seconds = 60.0 * self._cluster.benchmark.timeout_minutes + 120
        stuck_since, told = None, ""
        for seen in watch_with_pauses(
            self._session,
            POD,
            labels=f"batch.kubernetes.io/job-name={self.name}",
            seconds=seconds,
            pause_s=_PAUSE_S,
        ):
            if seen is not None:
                self._note(seen.document)
            yield from self._said()
            if seen is not None:
                continue
            job = get(self._session, JOB, self.name)
            if job is None:
                self._outcome = Outcome(1, Cause.INTERRUPTED, f"The Job {self.name} was deleted.")
                break
            if _is(job, "Complete") or _is(job, "Failed"):
                self._join()
                yield from self._said()
                self._outcome = self._done() if _is(job, "Complete") else self._failure(job)
                break
            stuck = self._stuck(job)
            now = time.monotonic()
            stuck_since = (stuck_since or now) if stuck else None
            if stuck and stuck != told:
                told = stuck
                yield f"{self.name}: {stuck}"
            if stuck_since and now - stuck_since > self._cluster.benchmark.pending_seconds:
                self.cancel()
                self._outcome = Outcome(1, Cause.USER_ERROR, f"Nothing was measured: {stuck}")
                break
        else:
            self.cancel()
            minutes = self._cluster.benchmark.timeout_minutes
            self._outcome = Outcome(1, Cause.FAULT, f"Nothing was measured within {minutes} minutes.")

    def cancel(self) -> None:
        """See `Job`; its pods go with it, and what was sent to them."""
        if self._outcome is None:
            self._outcome = Outcome(143, Cause.INTERRUPTED, "It was cancelled.")
        with suppress(UserError):
            delete(self._session, JOB, self.name)
        with suppress(UserError):
            self._exchange.clear()

    @property
    def outcome(self) -> Outcome:
        """See `Job`."""
        for _ in self.follow():
            pass
        assert self._outcome is not None
        return self._outcome

    def _note(self, pod: Document) -> None:
        name = pod["metadata"]["name"]
        followed = self._pods.setdefault(name, _Followed(pod))
        followed.pod = pod
        if followed.reader is None and pod["spec"].get("nodeName"):
            # A reader that waits for a node that went must not keep this process.
            followed.reader = threading.Thread(target=self._read, args=(followed,), daemon=True)
            followed.reader.start()

    def _read(self, followed: _Followed) -> None:
        seconds = 60.0 * self._cluster.benchmark.timeout_minutes
        with suppress(UserError):
            name = followed.pod["metadata"]["name"]
            for line in follow_log(self._session, name, CONTAINER, seconds=seconds):
                followed.lines.append(line.text)
                if line.text.strip() and not line.text.startswith(UserError.PREFIX):
                    self._lines.put(f"[{followed.node}] {line.text}")

    def _said(self) -> Iterator[str]:
        with suppress(queue.Empty):
            while True:
                yield self._lines.get_nowait()

    def _join(self) -> None:
        ends = time.monotonic() + _LOG_GRACE_S
        for followed in self._pods.values():
            if followed.reader:
                followed.reader.join(max(0, ends - time.monotonic()))

    def _stuck(self, job: Document) -> str:
        """What keeps the pods that there should be; empty where nothing is known to."""
        waiting = [each.pod for each in self._pods.values() if why_ended(each.pod) is None]
        found = [str(stuck) for pod in waiting if (stuck := why_stuck(self._session, pod))]
        if not self._pods and (without := why_no_pods(self._session, job)):
            found.append(str(without))
        return "; ".join(found)

    def _done(self) -> Outcome:
        """Brings back what the pods made; the Job and what was sent are of no more use then."""
        try:
            with tempfile.TemporaryDirectory(prefix="pocketkube-") as folder:
                parts = [Path(folder) / str(number) for number in range(self._nodes)]
                for number, part in enumerate(parts):
                    self._exchange.fetch(number, part)
                self._merge(parts, self._output)
        except UserError as error:
            # What is not there cannot be waited for: the Job is made anew the next time.
            self._remove()
            return Outcome(error.EXIT_CODE, Cause.USER_ERROR, str(error))
        self._remove()
        return Outcome(0, Cause.DONE)

    def _remove(self) -> None:
        delete(self._session, JOB, self.name)
        self._exchange.clear()

    def _failure(self, job: Document) -> Outcome:
        """The Job stays for a while, for people to look at; what was sent to it goes."""
        with suppress(UserError):
            self._exchange.clear()
        labels = f"batch.kubernetes.io/job-name={self.name}"
        for pod in find(self._session, POD, labels):
            self._note(pod)
        condition = next(c for c in job["status"]["conditions"] if c["type"] in _FAILED)
        ended = [
            (each, ending)
            for each in self._pods.values()
            if (ending := why_ended(each.pod)) and not ending.is_success
        ]
        # What a pod refuses says more than that others were ended with it.
        ended.sort(key=lambda pair: pair[1].exit_code != UserError.EXIT_CODE)
        if condition.get("reason") == "DeadlineExceeded" or not ended:
            minutes = self._cluster.benchmark.timeout_minutes
            why = (
                f"measuring took longer than cluster.benchmark.timeout_minutes, {minutes}"
                if condition.get("reason") == "DeadlineExceeded"
                else condition.get("message") or condition.get("reason", "")
            )
            return Outcome(1, Cause.FAULT, f"The Job {self.name} failed: {why}.")
        return self._of_pod(*ended[0])

    def _of_pod(self, followed: _Followed, ending: Ending) -> Outcome:
        if ending.reason == "OOMKilled":
            return Outcome(137, Cause.OUT_OF_MEMORY, f"On {followed.node}, {ending}.")
        if ending.exit_code is None:
            return Outcome(1, Cause.NODE_LOST, f"On {followed.node}, {ending}.")
        found = outcome_of_process(ending.exit_code, list(followed.lines), oom_killed=False)
        if found.cause in (Cause.USER_ERROR, Cause.BAD_DATA):
            return found
        return Outcome(found.exit_code, found.cause, f"On {followed.node}: {found.reason}")


_FAILED = ("Failed", "FailureTarget")


def _is(job: Document, condition: str) -> bool:
    return any(
        each["type"] == condition and each["status"] == "True"
        for each in job.get("status", {}).get("conditions", ())
    )
