"""A Job (batch/v1) whose pods measure LiteRT files, each on another node of a pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pocketkube.benchmarking.environment import NODE
from pocketkube.errors import UserError
from pocketkube.kube.pod_parts import (
    CONTAINER_SECURITY,
    MANAGED,
    NO_SIDECAR,
    POD_SECURITY,
    STAGE_LABEL,
    Owner,
    object_metadata,
    pull_secrets,
    store_environment,
    tolerations,
    without_token,
)
from pocketkube.spec.sections import BenchmarkPods, Cluster

CONTAINER = "benchmark"
# Pods that bear these keep off each other's nodes, whosoever's they are.
ALONE = {"app.kubernetes.io/part-of": "pocketkube", "app.kubernetes.io/component": "benchmark"}
# Kubernetes puts the number of a Job's pod here, and into arguments that name it so.
INDEX = "$(JOB_COMPLETION_INDEX)"
# How often the pods of a Job may fail for reasons that are not the request's, as a node's loss.
_RETRIES = 2


@dataclass(frozen=True)
class Measurement:
    """What is to be measured.

    Attributes:
        name: The Job's, a DNS label.
        stage: The stage's name.
        argv: The words after `pocketkube`; `INDEX` in them stands for the pod's number.
        environment: Variables of the pods, beside the object store's keys.
        nodes: On how many nodes.
        owner: With what the Job goes; None where it stays until it is deleted.
    """

    name: str
    stage: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 1
    owner: Owner | None = None


def benchmark_job(work: Measurement, cluster: Cluster) -> dict[str, Any]:
    """Builds the Job.

    A pod has whole CPUs for itself (requests equal limits: quality of service Guaranteed), and no
    other pod that measures is on its node. What a stage refuses (exit code 2) fails the Job at once;
    a pod that was evicted or lost its node does not count, and other failures are tried again.

    Args:
        work: What is to be measured.
        cluster: The image, the object store's Secret and the nodes.
    """
    asked = cluster.benchmark
    labels = {**MANAGED, STAGE_LABEL: work.stage, **ALONE, **NO_SIDECAR}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": object_metadata(work.name, labels, work.owner),
        "spec": {
            "completionMode": "Indexed",
            "completions": work.nodes,
            "parallelism": work.nodes,
            "backoffLimit": _RETRIES,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": CONTAINER,
                            "operator": "In",
                            "values": [UserError.EXIT_CODE],
                        },
                    },
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                ]
            },
            # Waiting for a node is none of the time that measuring has: each pod has its own deadline.
            "activeDeadlineSeconds": longest_s(asked),
            "ttlSecondsAfterFinished": asked.ttl_seconds,
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod(work, cluster),
            },
        },
    }


def longest_s(asked: BenchmarkPods) -> int:
    """For how many seconds the Job may be there: its pods wait for nodes, and then they measure."""
    return asked.pending_seconds + 60 * asked.timeout_minutes


def _pod(work: Measurement, cluster: Cluster) -> dict[str, Any]:
    asked = cluster.benchmark
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 60 * asked.timeout_minutes,
        **without_token(cluster),
        **pull_secrets(asked.image_pull_secrets),
        "nodeSelector": asked.selected,
        "tolerations": tolerations(asked),
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": ALONE},
                        # Another team's benchmark disturbs as much as one of our own.
                        "namespaceSelector": {},
                    }
                ]
            }
        },
        "securityContext": POD_SECURITY,
        "containers": [
            {
                "name": CONTAINER,
                "image": cluster.benchmark_image,
                "command": ["python", "-m", "pocketkube"],
                "args": list(work.argv),
                "env": _environment(work, cluster),
                "resources": {"requests": asked.resources, "limits": asked.resources},
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _environment(work: Measurement, cluster: Cluster) -> list[dict[str, Any]]:
    node = {"name": NODE, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    return [node, *store_environment(work.environment, cluster)]
