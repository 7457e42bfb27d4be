"""A Job (batch/v1) whose pods measure LiteRT files, each on another node of a pool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pocketkube.benchmarking.environment import NODE
from pocketkube.errors import UserError
from pocketkube.kube.workers import (
    CONTAINER_SECURITY,
    MANAGED,
    POD_SECURITY,
    STAGE_LABEL,
    STORE_KEYS,
    Owner,
)
from pocketkube.spec.sections import BenchmarkPods, Cluster

CONTAINER = "benchmark"
# Pods that bear these keep off each other's nodes, whosoever's they are.
ALONE = {"app.kubernetes.io/part-of": "pocketkube", "app.kubernetes.io/component": "benchmark"}
# A proxy beside the measurement would take a part of its CPUs, and never end.
_NO_SIDECAR = {"sidecar.istio.io/inject": "false"}
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
    labels = {**MANAGED, STAGE_LABEL: work.stage, **ALONE, **_NO_SIDECAR}
    metadata: dict[str, Any] = {"name": work.name, "labels": labels}
    if work.owner:
        metadata["ownerReferences"] = [
            {
                "apiVersion": work.owner.api_version,
                "kind": work.owner.kind,
                "name": work.owner.name,
                "uid": work.owner.uid,
            }
        ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
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
            "activeDeadlineSeconds": 60 * asked.timeout_minutes,
            "ttlSecondsAfterFinished": asked.ttl_seconds,
            "template": {
                # A service mesh's proxy beside it would never end, and be measured as well.
                "metadata": {"labels": {**labels, "sidecar.istio.io/inject": "false"}},
                "spec": _pod(work, cluster),
            },
        },
    }


def _pod(work: Measurement, cluster: Cluster) -> dict[str, Any]:
    asked = cluster.benchmark
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"serviceAccountName": cluster.service_account} if cluster.service_account else {}),
        **(
            {"imagePullSecrets": [{"name": name} for name in asked.image_pull_secrets]}
            if asked.image_pull_secrets
            else {}
        ),
        "nodeSelector": _selector(asked),
        "tolerations": _tolerations(asked),
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
                "resources": {
                    kind: {"cpu": asked.cpu, "memory": asked.memory} for kind in ("requests", "limits")
                },
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def _selector(asked: BenchmarkPods) -> dict[str, str]:
    arch = {} if asked.arch == "any" else {"kubernetes.io/arch": asked.arch}
    return {**arch, **asked.node_selector}


def _tolerations(asked: BenchmarkPods) -> list[dict[str, str]]:
    """What the spec says, and the taint by which clouds keep pods for amd64 off their ARM nodes."""
    said = [
        {key: value for key, value in each.model_dump().items() if value} for each in asked.tolerations
    ]
    if asked.arch == "any":
        return said
    own = {
        "key": "kubernetes.io/arch",
        "operator": "Equal",
        "value": asked.arch,
        "effect": "NoSchedule",
    }
    return [*said, own]


def _environment(work: Measurement, cluster: Cluster) -> list[dict[str, Any]]:
    secret = cluster.object_store.secret
    return [
        {"name": NODE, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        *({"name": name, "value": value} for name, value in work.environment.items()),
        *(
            # The pods of a store that needs no keys start all the same.
            {
                "name": name,
                "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}},
            }
            for name, key in STORE_KEYS.items()
        ),
    ]
