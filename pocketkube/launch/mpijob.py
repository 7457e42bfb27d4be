"""Shares a call among the pods of an MPIJob or a TrainJob, which is followed to its end."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from pocketkube.errors import UserError
from pocketkube.kube.logs import LogLine, follow_log
from pocketkube.kube.mpijob import mpijob
from pocketkube.kube.objects import JOB, POD, Kind, delete, get, met_condition, name_of
from pocketkube.kube.own_pod import own_pod
from pocketkube.kube.pods import (
    Ending,
    Stuck,
    nothing_happens,
    why_ended,
    why_no_pods,
    why_stuck,
)
from pocketkube.kube.session import Session, connect
from pocketkube.kube.trainjob import trainjob
from pocketkube.kube.transport import Document
from pocketkube.kube.watching import Seen, watch_with_pauses
from pocketkube.kube.workers import SharedWork
from pocketkube.launch.cluster_jobs import EndsWhenFollowed, start_or_adopt, store_of
from pocketkube.launch.endings import JobEnding, cause_of_waiting, outcome_of_job, sentence
from pocketkube.launch.job import Call
from pocketkube.launch.lines import lines_by_rank, shown
from pocketkube.launch.outcome import Cause, Outcome
from pocketkube.launch.tuning import tuning_of
from pocketkube.launch.unstarted import Waiting
from pocketkube.spec.sections import Cluster, WorkerPods

_LOOK_S = 2.0
# For the rest of the log, when the job has ended.
_LOG_S = 20.0
# A worker that is lost ends mpirun, if not at once: not where its node went without a word.
_LOST_S = 90.0
_LINES_KEPT = 500
_FOR_EVER_S = 1e8


@dataclass(frozen=True)
class Operator:
    """How a kind of jobs is built and read.

    Attributes:
        kind: The kind.
        build: Makes the object.
        pods: The selector of labels of a job's pods, by its name.
        launcher: The label of the pod that starts the others.
        launcher_job: The name of the batch Job of that pod, by the job's name.
        workers: How many other pods a job has.
        succeeded: The condition of a job that is done.
    """

    kind: Kind
    build: Callable[[SharedWork, Cluster], Document]
    pods: str
    launcher: tuple[str, str]
    launcher_job: str
    workers: Callable[[Document], int]
    succeeded: str


MPI_OPERATOR = Operator(
    Kind("kubeflow.org/v2beta1", "MPIJob"),
    mpijob,
    "training.kubeflow.org/job-name={}",
    ("training.kubeflow.org/job-role", "launcher"),
    "{}-launcher",
    lambda job: job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"],
    "Succeeded",
)
TRAINER = Operator(
    Kind("trainer.kubeflow.org/v1alpha1", "TrainJob"),
    trainjob,
    "jobset.sigs.k8s.io/jobset-name={}",
    ("jobset.sigs.k8s.io/replicatedjob-name", "launcher"),
    "{}-launcher-0",
    lambda job: job["spec"]["trainer"]["numNodes"] - 1,
    "Complete",
)
# The condition of a job that has failed, whoever runs it.
FAILED = "Failed"
OPERATORS = {"mpijob": MPI_OPERATOR, "trainjob": TRAINER}


class MpiJob:
    """Runs each call as a job of its own on the cluster.

    The job has one name for one call: where it runs already, because whoever followed it was ended, it
    is followed and not started a second time. One that has failed is replaced.

    Args:
        cluster: The spec's section; `launcher` says of which kind the job is.
        name: The job's name, which no other call has; see `SharedWork.name`.
        processes: How many share the work.
        session: The cluster and the namespace; by default those of this pod, or of KUBECONFIG.
    """

    def __init__(
        self, cluster: Cluster, name: str, processes: int, session: Session | None = None
    ) -> None:
        self._cluster, self._name, self._processes = cluster, name, processes
        self._session = session

    def start(self, call: Call) -> "RunningJob":
        """See `Launcher`; places that the call names have to be reached from the job's pods.

        Raises:
            UserError: If the stage does not share its work, no image is named, or the API server
                refuses or stays away.
        """
        if not call.shared:
            raise UserError(f"{call.stage} does not share its work: it cannot run as a job of workers.")
        session = self._session or connect()
        operator = OPERATORS[self._cluster.launcher]
        document = operator.build(self._work(call, session), self._cluster)
        created = start_or_adopt(session, document, lambda there: _ended(there, operator) == FAILED)
        return RunningJob(
            session, operator, created.document, self._cluster.workers, is_adopted=not created.is_new
        )

    def remove(self) -> None:
        """Removes the job of an earlier time, if there is one."""
        session = self._session or connect()
        delete(session, OPERATORS[self._cluster.launcher].kind, self._name)

    def _work(self, call: Call, session: Session) -> SharedWork:
        pod = own_pod(session)
        image = self._cluster.image or (pod.image if pod else "")
        if not image:
            raise UserError("cluster.image: name the image of workers; this process is in no pod.")
        return SharedWork(
            self._name,
            call.stage,
            call.argv(),
            self._processes,
            image,
            {**tuning_of(os.environ), **store_of(self._cluster)},
            pod.owner if pod else None,
        )


class RunningJob(EndsWhenFollowed):
    """A job on the cluster.

    Attributes:
        name: Its name.

    Args:
        session: The cluster, and the job's namespace.
        operator: How it is read.
        document: The job.
        workers: How long it may wait, and whether it may go on without some of its pods.
        is_adopted: Whether it was there before.
    """

    def __init__(
        self,
        session: Session,
        operator: Operator,
        document: Document,
        workers: WorkerPods,
        *,
        is_adopted: bool,
    ) -> None:
        self._session, self._operator, self._workers = session, operator, workers
        self._job: Document | None = document
        self.name, self._uid = name_of(document), document["metadata"]["uid"]
        self._is_adopted, self._is_cancelled = is_adopted, False
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._pods = _Pods(operator)
        self._waiting = Waiting(workers.pending_seconds)

    def follow(self) -> Iterator[str]:
        """See `Job`."""
        if self._outcome is not None:
            return
        what = "is there already, and followed" if self._is_adopted else "is created"
        yield f"{self._operator.kind.name} {self.name} {what}"
        for rank, text in lines_by_rank(self._texts()):
            self._lines.append(text)
            if line := shown(rank, text):
                yield line
        if self._outcome is None:
            self._outcome = self._ending()

    def cancel(self) -> None:
        """See `Job`; waits until its pods are gone."""
        self._is_cancelled = True
        if self._outcome is None:
            delete(self._session, self._operator.kind, self.name, "Foreground")

    def _texts(self) -> Iterator[str]:
        """The log's lines, and what there is to say of the job, until it has ended and the log, too."""
        news: SimpleQueue[Seen | LogLine | str | Exception] = SimpleQueue()
        is_over = threading.Event()
        try:
            yield from self._merged(news, is_over)
        finally:
            is_over.set()

    def _merged(
        self, news: "SimpleQueue[Seen | LogLine | str | Exception]", is_over: threading.Event
    ) -> Iterator[str]:
        selector = self._operator.pods.format(self.name)
        _in_a_thread(
            watch_with_pauses(
                self._session, POD, labels=selector, seconds=_FOR_EVER_S, pause_s=_LOOK_S
            ),
            news,
            is_over,
        )
        logs: set[str] = set()
        looked, ended = time.monotonic(), None
        while True:
            try:
                new = news.get(timeout=_LOOK_S)
            except Empty:
                new = None
            match new:
                case Exception():
                    raise new
                case Seen():
                    self._pods.see(new)
                    if (pod := self._pods.new_launcher()) is not None:
                        logs.add(pod)
                        _in_a_thread(self._log(pod), news, is_over)
                case LogLine():
                    yield f"{new.text}\n"
                case str():
                    logs.discard(new)
            if time.monotonic() - looked > _LOOK_S or ended:
                looked = time.monotonic()
                if ended is None:
                    yield from (f"{line}\n" for line in self._look())
                    if self._outcome or self._job is None or _ended(self._job, self._operator):
                        ended = time.monotonic()
                elif (not logs and news.empty()) or time.monotonic() - ended > _LOG_S:
                    return

    def _log(self, pod: str) -> Iterator[LogLine | str]:
        yield from follow_log(self._session, pod, seconds=_FOR_EVER_S)
        yield pod

    def _look(self) -> Iterator[str]:
        """Asks what has become of the job; gives it up where its pods do not start."""
        job = get(self._session, self._operator.kind, self.name)
        self._job = job if job and job["metadata"]["uid"] == self._uid else None
        if self._job is None or _ended(self._job, self._operator):
            return
        if self._pods.launcher_runs:
            self._waiting.forget()
            if not self._workers.elastic and self._pods.lost_for_s > _LOST_S:
                self._give_up(Outcome(1, Cause.NODE_LOST, sentence(self._pods.lost[0])))
            return
        if _is_suspended(self._job):
            yield from self._waiting.say("it is suspended, until others resume it")
            return
        reason = self._why_waiting(self._job)
        yield from self._waiting.because(reason)
        if (found := self._waiting.given_up) is not None:
            self._give_up(Outcome(1, cause_of_waiting(found), sentence(found)))

    def _give_up(self, outcome: Outcome) -> None:
        self._outcome = outcome
        delete(self._session, self._operator.kind, self.name, "Foreground", seconds=0)

    def _why_waiting(self, job: Document) -> Stuck | None:
        pods = self._pods.there
        for pod in pods:
            if stuck := why_stuck(self._session, pod):
                return stuck
        launcher = get(self._session, JOB, self._operator.launcher_job.format(self.name))
        workers = self._pods.workers
        are_all_there = len(workers) >= self._operator.workers(job)
        # When all workers run, what lacks is the launcher's Job.
        is_launchers_turn = launcher is None and all(_runs(pod) for pod in workers)
        # A warning stays when what it tells of has passed: a quota may have been full for a moment.
        if (not are_all_there or is_launchers_turn) and (stuck := why_no_pods(self._session, job)):
            return stuck
        if launcher and not self._pods.launchers and (stuck := why_no_pods(self._session, launcher)):
            return stuck
        return None if pods else nothing_happens(self._operator.kind, self.name, self._session)

    def _ending(self) -> Outcome:
        if self._is_cancelled:
            return Outcome(143, Cause.INTERRUPTED, "It was cancelled.")
        if self._job is None:
            kind = self._operator.kind.name
            return Outcome(1, Cause.INTERRUPTED, f"{kind} {self.name} was deleted while it ran.")
        if _ended(self._job, self._operator) == self._operator.succeeded:
            return Outcome(0, Cause.DONE)
        launcher = self._pods.last_launcher
        ended = JobEnding(
            condition=_failure(self._job),
            exit_code=_exit_code(launcher) if launcher else None,
            launcher=self._pods.last_launcher_ending,
            lost=self._pods.lost,
            pods=self._pods.endings,
            lines=list(self._lines),
            memory=self._workers.memory,
        )
        return outcome_of_job(ended)


class _Pods:
    """A job's pods, as they were last seen."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._seen: dict[str, Document] = {}
        self._gone: set[str] = set()
        self._followed: set[str] = set()
        self._endings: dict[str, Ending] = {}
        self._lost: list[Ending] = []
        self._lost_since: float | None = None

    def see(self, seen: Seen) -> None:
        """Takes in a pod's new state."""
        pod, uid = seen.document, seen.document["metadata"]["uid"]
        if self._is_launcher(pod) and uid not in self._seen:
            # A further attempt has workers of its own: what the last one lost does not end it.
            self._lost, self._lost_since = [], None
        self._seen[uid] = pod
        if seen.is_gone:
            self._gone.add(uid)
        ending = why_ended(pod)
        # The first counts: a pod that was deleted has a container that ended, in the end.
        if ending is None or uid in self._endings:
            return
        # What goes after the launcher goes because the job has ended.
        if not self._is_launcher(pod) and self.launcher_runs:
            self._lost.append(ending)
            self._lost_since = self._lost_since or time.monotonic()
        self._endings[uid] = ending

    def new_launcher(self) -> str | None:
        """The name of a launcher's pod that was not told before."""
        for uid, pod in self._seen.items():
            if self._is_launcher(pod) and uid not in self._followed:
                self._followed.add(uid)
                return name_of(pod)
        return None

    @property
    def launcher_runs(self) -> bool:
        """Whether one of the launcher's pods runs."""
        return any(_runs(pod) for pod in self.launchers)

    @property
    def launchers(self) -> list[Document]:
        """The launcher's pods that have not ended."""
        return [pod for pod in self._not_ended if self._is_launcher(pod)]

    @property
    def workers(self) -> list[Document]:
        """The other pods that have not ended."""
        return [pod for pod in self._not_ended if not self._is_launcher(pod)]

    @property
    def there(self) -> list[Document]:
        """The pods that are not gone."""
        return [pod for uid, pod in self._seen.items() if uid not in self._gone]

    @property
    def last_launcher(self) -> Document | None:
        """The launcher's pod, the last one if there were several."""
        found = [pod for pod in self._seen.values() if self._is_launcher(pod)]
        return max(found, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)

    @property
    def last_launcher_ending(self) -> Ending | None:
        """How it ended; None while it has not."""
        pod = self.last_launcher
        return self._endings.get(pod["metadata"]["uid"]) if pod else None

    @property
    def lost(self) -> list[Ending]:
        """How workers ended while the launcher ran."""
        return self._lost

    @property
    def lost_for_s(self) -> float:
        """For how long the first of them has been lost."""
        return 0.0 if self._lost_since is None else time.monotonic() - self._lost_since

    @property
    def endings(self) -> list[Ending]:
        """How pods ended that have."""
        return list(self._endings.values())

    @property
    def _not_ended(self) -> list[Document]:
        return [pod for pod in self.there if pod["metadata"]["uid"] not in self._endings]

    def _is_launcher(self, pod: Document) -> bool:
        key, value = self._operator.launcher
        return pod["metadata"].get("labels", {}).get(key) == value


def _in_a_thread(
    items: Iterator[Seen | LogLine | str | None],
    news: "SimpleQueue[Seen | LogLine | str | Exception]",
    is_over: threading.Event,
) -> None:
    """Puts items into a queue as they come, and what ends them, until it is over."""

    def run() -> None:
        try:
            for item in items:
                if is_over.is_set():
                    return
                if item is not None:
                    news.put(item)
        except Exception as error:
            news.put(error)

    threading.Thread(target=run, daemon=True).start()


def _ended(job: Document, operator: Operator) -> str | None:
    """The condition in which a job has ended: done, or Failed; None while it has not."""
    condition = met_condition(job, operator.succeeded, FAILED)
    return condition["type"] if condition else None


def _failure(job: Document) -> tuple[str, str]:
    condition = met_condition(job, FAILED) or {}
    return condition.get("reason", ""), condition.get("message", "")


def _exit_code(pod: Document) -> int | None:
    for container in pod["status"].get("containerStatuses", ()):
        if ended := container.get("state", {}).get("terminated"):
            return int(ended["exitCode"])
    return None


def _runs(pod: Document) -> bool:
    return bool(pod["status"].get("phase") == "Running")


def _is_suspended(job: Document) -> bool:
    spec = job["spec"]
    return bool(spec.get("suspend") or spec.get("runPolicy", {}).get("suspend"))
