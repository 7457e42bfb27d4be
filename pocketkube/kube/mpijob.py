"""An MPIJob (kubeflow.org/v2beta1) in which several processes share a stage's work."""

from typing import Any

from pocketkube.kube.pod_parts import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    pull_secrets,
    store_environment,
    without_token,
)
from pocketkube.kube.workers import (
    SSH_FOLDER,
    SSH_PORT,
    SSH_READY,
    SharedWork,
    command,
    metadata,
    mounts,
    placement,
    pod_labels,
    resources,
    secrets,
    volumes,
)
from pocketkube.spec.sections import Cluster, WorkerPods

# Of the launcher and of workers: Katib, where a job is a trial, finds both by one name.
CONTAINER = "stage"
# It starts the others, waits for them and passes on what they print.
_LAUNCHER_RESOURCES = {"cpu": "500m", "memory": "512Mi"}


def mpijob(work: SharedWork, cluster: Cluster) -> dict[str, Any]:
    """Builds the MPIJob.

    The launcher has the environment, and mpirun gives it to the processes, which are children of each
    worker's sshd. Pods are restricted, and have no token of their service account.

    Args:
        work: What is to be done.
        cluster: The pods, and what becomes of them.
    """
    workers = cluster.workers
    return {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": metadata(work, cluster),
        "spec": {
            "slotsPerWorker": workers.slots,
            "sshAuthMountPath": SSH_FOLDER,
            "mpiImplementation": "OpenMPI",
            "launcherCreationPolicy": "WaitForWorkersReady",
            "runPolicy": _run_policy(workers),
            "mpiReplicaSpecs": {
                "Launcher": _replicas(1, work, cluster, _launcher(work, cluster)),
                "Worker": _replicas(work.pods(workers), work, cluster, _worker(work, cluster)),
            },
        },
    }


def _run_policy(workers: WorkerPods) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "backoffLimit": workers.backoff_limit,
        "cleanPodPolicy": workers.clean_pods,
        "suspend": workers.suspend,
        "ttlSecondsAfterFinished": workers.ttl_seconds,
    }
    if workers.deadline_minutes:
        policy["activeDeadlineSeconds"] = 60 * workers.deadline_minutes
    return policy


def _replicas(
    count: int, work: SharedWork, cluster: Cluster, container: dict[str, Any]
) -> dict[str, Any]:
    return {
        "replicas": count,
        # The launcher is started again as a new pod, as often as backoffLimit says.
        "restartPolicy": "Never",
        "template": {
            "metadata": {"labels": pod_labels(work)},
            "spec": {
                "securityContext": POD_SECURITY,
                "containers": [container],
                "volumes": volumes(cluster.workers),
                **without_token(cluster),
                **pull_secrets(cluster.workers.image_pull_secrets),
                **placement(cluster.workers),
            },
        },
    }


def _launcher(work: SharedWork, cluster: Cluster) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": work.image,
        "command": command(work, cluster.workers),
        "env": store_environment(work.environment, cluster),
        "envFrom": secrets(cluster.workers),
        "resources": {"requests": _LAUNCHER_RESOURCES, "limits": _LAUNCHER_RESOURCES},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts(cluster.workers),
    }


def _worker(work: SharedWork, cluster: Cluster) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": work.image,
        "command": ["/usr/sbin/sshd", "-De"],
        "ports": [{"name": "ssh", "containerPort": SSH_PORT}],
        "readinessProbe": SSH_READY,
        "resources": resources(cluster.workers),
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts(cluster.workers),
    }
