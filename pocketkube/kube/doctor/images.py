"""Whether nodes can have the images, by a pod of each that ends at once."""

import time
from collections.abc import Iterator
from typing import Any

from pocketkube.kube.doctor.finding import Finding, right, wrong
from pocketkube.kube.doctor.needs import Needs
from pocketkube.kube.kfp.package import digest_of
from pocketkube.kube.objects import POD, create, delete, get, name_of
from pocketkube.kube.pod_parts import pull_secrets, tolerations
from pocketkube.kube.pods import why_ended, why_stuck
from pocketkube.kube.session import Session
from pocketkube.spec.sections.cluster import BenchmarkPods, Pods
from pocketkube.stages.parts import benchmark_image_of

# A runtime image of 2 GB comes within it over a slow line.
PULL_S = 300
# What keeps a pod that long will not pass by itself.
PATIENCE_S = 20


def check_images(session: Session, needs: Needs, runtime_image: str) -> Iterator[Finding]:
    """Starts a pod of each image, and removes it.

    Args:
        session: The cluster, and the namespace.
        needs: Which images are needed, and where.
        runtime_image: The image of tasks.
    """
    cluster = needs.cluster
    yield _pulled(session, runtime_image, cluster.task, needs)
    if cluster.image and cluster.image != runtime_image:
        yield _pulled(session, cluster.image, cluster.workers, needs)
    if needs.jobs:
        yield _pulled(session, benchmark_image_of(cluster), cluster.benchmark, needs)


def _pulled(session: Session, image: str, pods: Pods, needs: Needs) -> Finding:
    document = _pod(image, pods, needs)
    started = time.monotonic()
    try:
        create(session, document)
        return _waited(session, image, name_of(document), started)
    finally:
        delete(session, POD, name_of(document), seconds=0)


def _waited(session: Session, image: str, name: str, started: float) -> Finding:
    while True:
        waited_s = time.monotonic() - started
        pod = get(session, POD, name)
        if pod is None:
            return wrong(
                "images", f"{image}: its pod {name} was removed by another", "run doctor again"
            )
        ending, stuck = why_ended(pod), why_stuck(session, pod)
        if ending is not None and ending.is_success:
            node = pod["spec"].get("nodeName", "a node")
            return right("images", f"{image} is on {node}, and starts ({waited_s:.0f} s)")
        if ending is not None:
            return wrong(
                "images", f"{image}: {ending}", f"kubectl -n {session.namespace} describe pod {name}"
            )
        if stuck is not None and waited_s > PATIENCE_S:
            return wrong("images", f"{image}: {stuck}", _remedy(session.namespace, image, stuck.reason))
        if waited_s > PULL_S:
            return wrong(
                "images",
                f"{image}: its pod has not started within {PULL_S} s",
                "push the image nearer to the cluster, or pull it onto the nodes before",
            )
        time.sleep(1)


def _remedy(namespace: str, image: str, reason: str) -> str:
    if reason == "Unschedulable":
        return "kubectl get nodes --show-labels"
    return (
        f"push {image} to a registry that the nodes reach; where that asks for a login: "
        f"kubectl -n {namespace} create secret docker-registry, and "
        "name it in the service account's imagePullSecrets"
    )


def _pod(image: str, pods: Pods, needs: Needs) -> dict[str, Any]:
    secrets = (pods if isinstance(pods, BenchmarkPods) else needs.cluster.workers).image_pull_secrets
    container = {
        "name": "main",
        "image": image,
        "command": ["true"],
        "imagePullPolicy": "IfNotPresent",
        "resources": {amounts: {"cpu": "100m", "memory": "64Mi"} for amounts in ("requests", "limits")},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"pocketkube-doctor-{digest_of([image, pods.selected, time.time_ns()])}",
            "labels": {
                "app.kubernetes.io/managed-by": "pocketkube",
                "app.kubernetes.io/part-of": "pocketkube",
                "sidecar.istio.io/inject": "false",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            # The node's kubelet ends what this process could not remove.
            "activeDeadlineSeconds": 2 * PULL_S,
            "nodeSelector": pods.selected,
            "tolerations": tolerations(pods),
            **pull_secrets(secrets),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 0,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
