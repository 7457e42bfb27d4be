"""A TrainJob (trainer.kubeflow.org/v1alpha1) in which several processes share a stage's work."""

from typing import Any

from pocketkube.errors import UserError
from pocketkube.kube.pod_parts import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    pull_secrets,
    store_environment,
)
from pocketkube.kube.workers import (
    SSH_FOLDER,
    SSH_READY,
    SharedWork,
    command,
    metadata,
    mounts,
    placement,
    pod_labels,
    resources,
    volumes,
)
from pocketkube.spec.sections import Cluster, WorkerPods

_API = "trainer.kubeflow.org/v1alpha1"
# The jobs of an MPI runtime, and the name of the container in each.
_LAUNCHER, _NODE = "launcher", "node"


def trainjob(work: SharedWork, cluster: Cluster) -> dict[str, Any]:
    """Builds the TrainJob; the first of its nodes is the launcher, too.

    How often it begins again, how long it stays, and what is cleaned up then, is the runtime's.

    Args:
        work: What is to be done.
        cluster: The pods, and the name of the runtime (`training_runtime`).

    Raises:
        UserError: If the section asks for what a TrainJob has no field for.
    """
    workers = cluster.workers
    for field in ("elastic", "secrets"):
        if getattr(workers, field):
            raise UserError(
                f"cluster.workers.{field}: a TrainJob has no such thing; use launcher: mpijob."
            )
    usual = WorkerPods()
    for field in ("backoff_limit", "ttl_seconds", "clean_pods"):
        if getattr(workers, field) != getattr(usual, field):
            raise UserError(
                f"cluster.workers.{field}: of a TrainJob its ClusterTrainingRuntime {cluster.runtime} "
                "says it; leave it out, or use launcher: mpijob."
            )
    deadline = workers.deadline_minutes
    return {
        "apiVersion": _API,
        "kind": "TrainJob",
        "metadata": metadata(work, cluster),
        "spec": {
            "runtimeRef": {"apiGroup": _API.partition("/")[0], "kind": "ClusterTrainingRuntime"}
            | {"name": cluster.runtime},
            "suspend": workers.suspend,
            **({"activeDeadlineSeconds": 60 * deadline} if deadline else {}),
            "trainer": {
                "image": work.image,
                "command": command(work, workers),
                "env": store_environment(work.environment, cluster),
                "numNodes": work.pods(workers),
                "numProcPerNode": workers.slots,
                "resourcesPerNode": resources(workers),
            },
            "runtimePatches": [_patch(work, cluster)],
        },
    }


def training_runtime(cluster: Cluster, image: str) -> dict[str, Any]:
    """The runtime that TrainJobs refer to; an administrator applies it once for a cluster.

    Args:
        cluster: Its name.
        image: PocketKube's runtime image; each TrainJob names its own.
    """
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # The job's key is readable for this group only.
        "securityContext": {**POD_SECURITY, "fsGroup": 1000},
        "volumes": volumes(WorkerPods()),
    }
    container = {
        "name": _NODE,
        "image": image,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts(WorkerPods()),
    }
    sshd = {**container, "command": ["/usr/sbin/sshd", "-De"], "readinessProbe": SSH_READY}
    return {
        "apiVersion": _API,
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": cluster.runtime},
        "spec": {
            "mlPolicy": {
                "numNodes": 1,
                "mpi": {
                    "numProcPerNode": 1,
                    "mpiImplementation": "OpenMPI",
                    "sshAuthMountPath": SSH_FOLDER,
                    "runLauncherAsNode": True,
                },
            },
            "template": {
                "spec": {
                    "network": {"publishNotReadyAddresses": True},
                    "successPolicy": {"operator": "All", "targetReplicatedJobs": [_LAUNCHER]},
                    "replicatedJobs": [
                        _job(_NODE, {**pod, "containers": [sshd]}),
                        {
                            **_job(_LAUNCHER, {**pod, "containers": [container]}),
                            "dependsOn": [{"name": _NODE, "status": "Ready"}],
                        },
                    ],
                }
            },
        },
    }


def _job(name: str, pod: dict[str, Any]) -> dict[str, Any]:
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"} if name == _LAUNCHER else {}
    metadata = {"metadata": {"labels": labels}} if labels else {}
    return {
        "name": name,
        "template": {**metadata, "spec": {"backoffLimit": 0, "template": {"spec": pod}}},
    }


def _patch(work: SharedWork, cluster: Cluster) -> dict[str, Any]:
    """What the pods of both jobs have beside the runtime's own."""
    account = {"serviceAccountName": cluster.service_account} if cluster.service_account else {}
    pod = {
        "metadata": {"labels": pod_labels(work)},
        "spec": {
            "volumes": volumes(cluster.workers)[1:],
            "containers": [{"name": _NODE, "volumeMounts": mounts(cluster.workers)[1:]}],
            **account,
            **pull_secrets(cluster.workers.image_pull_secrets),
            **placement(cluster.workers),
        },
    }
    jobs = [{"name": name, "template": {"spec": {"template": pod}}} for name in (_LAUNCHER, _NODE)]
    return {
        "manager": "pocketkube.io/launcher",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}},
    }
