"""The pods in which several processes share a stage's work, of MPIJobs and of TrainJobs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pocketkube.kube.pod_parts import (
    MANAGED,
    NO_SIDECAR,
    STAGE_LABEL,
    Owner,
    object_metadata,
    tolerations,
)
from pocketkube.kube.quantity import canonical
from pocketkube.spec.sections import Cluster, WorkerPods

SSH_FOLDER = "/home/pocketkube/.ssh"
SSH_PORT = 2222
# What runs mpirun, in the first pod; see `pocketkube.launch.ranks`.
RANKS = ("python", "-m", "pocketkube.launch.ranks")
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


@dataclass(frozen=True)
class SharedWork:
    """A stage's work for several processes.

    Attributes:
        name: The job's; with `-launcher` or `-worker-0` behind it a DNS label (RFC 1035).
        stage: The stage's name.
        argv: The words after `pocketkube`; every process runs them.
        processes: How many share the work.
        image: The image of all pods.
        environment: Variables of the processes, beside what Secrets hold.
        owner: With what the job goes; None where it stays until it is deleted.
        metrics: The file of the launcher's to which NAME=NUMBER goes that the first process prints;
            none if empty.
    """

    name: str
    stage: str
    argv: Sequence[str]
    processes: int
    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    owner: Owner | None = None
    metrics: str = ""

    def pods(self, workers: WorkerPods) -> int:
        """In how many pods the processes are."""
        return math.ceil(self.processes / workers.slots)


def command(work: SharedWork, workers: WorkerPods) -> list[str]:
    """What the launcher's container runs: as many processes, on what pods there are."""
    least = most = work.processes
    may_change: tuple[str, ...] = ()
    if workers.elastic:
        least, most = workers.elastic.min_workers, workers.elastic.max_workers
        may_change = ("--elastic",)
    bounds = ("--min", str(least), "--max", str(most), *may_change)
    metrics = ("--metrics", work.metrics) if work.metrics else ()
    return [*RANKS, "--slots", str(workers.slots), *bounds, *metrics, "--", *work.argv]


def metadata(work: SharedWork, cluster: Cluster) -> dict[str, Any]:
    """The job's metadata."""
    return object_metadata(work.name, {**_labels(work), **queue_label(cluster.workers)}, work.owner)


def queue_label(workers: WorkerPods) -> dict[str, str]:
    """The label by which Kueue has a job wait in its queue."""
    return {QUEUE_LABEL: workers.queue} if workers.queue else {}


def pod_labels(work: SharedWork) -> dict[str, str]:
    """The labels of its pods."""
    return {**_labels(work), **NO_SIDECAR}


def secrets(workers: WorkerPods) -> list[dict[str, Any]]:
    """The container's `envFrom`."""
    return [{"secretRef": {"name": name}} for name in workers.secrets]


def resources(workers: WorkerPods) -> dict[str, Any]:
    """Of a worker; requests equal limits, so that nobody else's load changes its pace."""
    asked = workers.resources
    return {"requests": asked, "limits": asked} if asked else {}


def placement(workers: WorkerPods) -> dict[str, Any]:
    """The fields of a pod's spec that say which nodes it may have."""
    found: dict[str, Any] = {"nodeSelector": workers.selected}
    if workers.tolerations:
        found["tolerations"] = tolerations(workers)
    if workers.affinity:
        found["affinity"] = workers.affinity
    return found


def volumes(workers: WorkerPods) -> list[dict[str, Any]]:
    """A pod's volumes: its root file system is read-only, /dev/shm is as large as NCCL likes it."""
    found: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if workers.shared_memory:
        # Katib's webhook refuses a trial's pod whose quantities are written in another way.
        shm = {"medium": "Memory", "sizeLimit": canonical(workers.shared_memory)}
        found.append({"name": "shm", "emptyDir": shm})
    return found


def mounts(workers: WorkerPods) -> list[dict[str, Any]]:
    """Where a container has the volumes."""
    found: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
    if workers.shared_memory:
        found.append({"name": "shm", "mountPath": "/dev/shm"})
    return found


# mpirun's first connection must not come before sshd listens.
SSH_READY: dict[str, Any] = {"tcpSocket": {"port": SSH_PORT}, "periodSeconds": 1}


def _labels(work: SharedWork) -> dict[str, str]:
    return {**MANAGED, STAGE_LABEL: work.stage}
