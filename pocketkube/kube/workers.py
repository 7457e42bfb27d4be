"""The pods in which several processes share a stage's work, of MPIJobs and of TrainJobs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pocketkube.spec.sections import Cluster, WorkerPods

SSH_FOLDER = "/home/pocketkube/.ssh"
SSH_PORT = 2222
# What runs mpirun, in the first pod; see `pocketkube.launch.ranks`.
RANKS = ("python", "-m", "pocketkube.launch.ranks")
MANAGED = {"app.kubernetes.io/managed-by": "pocketkube", "app.kubernetes.io/part-of": "pocketkube"}
STAGE_LABEL = "pocketkube.io/stage"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
# The only variables that name a Secret's keys by another name than their own.
STORE_KEYS = {"AWS_ACCESS_KEY_ID": "accesskey", "AWS_SECRET_ACCESS_KEY": "secretkey"}


@dataclass(frozen=True)
class Owner:
    """An object with which what it owns goes, as in metadata.ownerReferences.

    Attributes:
        api_version: Of the object.
        kind: Of the object.
        name: Of the object.
        uid: Of the object.
    """

    api_version: str
    kind: str
    name: str
    uid: str


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
    """

    name: str
    stage: str
    argv: Sequence[str]
    processes: int
    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    owner: Owner | None = None

    def pods(self, workers: WorkerPods) -> int:
        """In how many pods the processes are."""
        return math.ceil(self.processes / workers.slots)


def command(work: SharedWork, workers: WorkerPods) -> list[str]:
    """What the launcher's container runs: as many processes, on what pods there are."""
    bounds = (work.processes, work.processes)
    if workers.elastic:
        bounds = (workers.elastic.min_workers, workers.elastic.max_workers)
    return [*RANKS, "--slots", str(workers.slots), *_bounds(*bounds), "--", *work.argv]


def metadata(work: SharedWork, cluster: Cluster) -> dict[str, Any]:
    """The job's metadata; Kueue finds its queue there."""
    labels = labels_of(work)
    if cluster.workers.queue:
        labels[QUEUE_LABEL] = cluster.workers.queue
    found: dict[str, Any] = {"name": work.name, "labels": labels}
    if work.owner:
        # Nobody waits for the job before the owner goes: that would take a right of its own.
        found["ownerReferences"] = [
            {
                "apiVersion": work.owner.api_version,
                "kind": work.owner.kind,
                "name": work.owner.name,
                "uid": work.owner.uid,
            }
        ]
    return found


def labels_of(work: SharedWork) -> dict[str, str]:
    """The labels of the job and its pods."""
    return {**MANAGED, STAGE_LABEL: work.stage}


def pod_labels(work: SharedWork) -> dict[str, str]:
    """The labels of pods: a proxy of Istio's would stand between ssh and workers, and never end."""
    return {**labels_of(work), "sidecar.istio.io/inject": "false"}


def environment(work: SharedWork, cluster: Cluster) -> list[dict[str, Any]]:
    """The container's `env`: the object store's keys come from its Secret."""
    secret = cluster.object_store.secret
    keys = [
        # The pods of a store that needs no keys start all the same.
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}}}
        for name, key in STORE_KEYS.items()
    ]
    return [*({"name": name, "value": value} for name, value in work.environment.items()), *keys]


def secrets(workers: WorkerPods) -> list[dict[str, Any]]:
    """The container's `envFrom`."""
    return [{"secretRef": {"name": name}} for name in workers.secrets]


def resources(workers: WorkerPods) -> dict[str, Any]:
    """Of a worker; requests equal limits, so that nobody else's load changes its pace."""
    asked: dict[str, str] = {}
    if workers.cpu:
        asked["cpu"] = workers.cpu
    if workers.memory:
        asked["memory"] = workers.memory
    if workers.gpus:
        asked["nvidia.com/gpu"] = str(workers.gpus)
    return {"requests": asked, "limits": asked} if asked else {}


def placement(workers: WorkerPods) -> dict[str, Any]:
    """The fields of a pod's spec that say which nodes it may have."""
    found: dict[str, Any] = {}
    if workers.node_selector:
        found["nodeSelector"] = dict(workers.node_selector)
    if workers.tolerations:
        found["tolerations"] = [
            {name: value for name, value in each.model_dump().items() if value}
            for each in workers.tolerations
        ]
    if workers.affinity:
        found["affinity"] = workers.affinity
    return found


def volumes(workers: WorkerPods) -> list[dict[str, Any]]:
    """A pod's volumes: its root file system is read-only, /dev/shm is as large as NCCL likes it."""
    found: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if workers.shared_memory:
        shm = {"medium": "Memory", "sizeLimit": workers.shared_memory}
        found.append({"name": "shm", "emptyDir": shm})
    return found


def mounts(workers: WorkerPods) -> list[dict[str, Any]]:
    """Where a container has the volumes."""
    found: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
    if workers.shared_memory:
        found.append({"name": "shm", "mountPath": "/dev/shm"})
    return found


def pull_secrets(workers: WorkerPods) -> dict[str, Any]:
    """The field of a pod's spec that names Secrets to pull images with."""
    names = [{"name": name} for name in workers.image_pull_secrets]
    return {"imagePullSecrets": names} if names else {}


# The image's own user: sshd lets nobody else in, and no group but the user's own.
POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# mpirun's first connection must not come before sshd listens.
SSH_READY: dict[str, Any] = {"tcpSocket": {"port": SSH_PORT}, "periodSeconds": 1}


def _bounds(least: int, most: int) -> list[str]:
    return ["--min", str(least), "--max", str(most)]
