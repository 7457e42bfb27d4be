"""Applies a folder of manifests/ as a user does by `kubectl apply -k`, in a test's own namespace."""

import os
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.kubectl import kubectl
from tests.cluster.store import find_store
from tests.manifests.rendering import MANIFESTS

RUNTIME, BENCHMARK = "pocketkube", "pocketkube-benchmark"


def install(
    place: str,
    folder: Path,
    namespace: str,
    work: str,
    images: dict[str, str],
    schedules: str | None = None,
) -> None:
    """Applies objects, and waits for nothing.

    Args:
        place: Their folder in manifests/.
        folder: Where a kustomization may be written that names what follows.
        namespace: Where they go.
        work: The place on the cluster's S3 server for what jobs hand each other.
        images: What this cluster calls our images, by our names of them.
        schedules: The recurring runs that are wanted, as schedules.yaml has them.

    Raises:
        OSError: If the API server refuses or warns.
    """
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(MANIFESTS / place, folder)],
        "images": [
            {"name": name, "newName": image.rpartition(":")[0], "newTag": image.rpartition(":")[2]}
            for name, image in images.items()
        ],
        "patches": [
            {
                "target": {"kind": "ConfigMap", "name": "pocketkube-object-store"},
                "patch": yaml.safe_dump(
                    [
                        {"op": "replace", "path": "/data/work", "value": work},
                        {"op": "replace", "path": "/data/endpoint", "value": find_store().endpoint},
                    ]
                ),
            }
        ],
        "transformers": ["namespace.yaml"],
    }
    if schedules is not None:
        (folder / "schedules.yaml").write_text(schedules)
        own = {
            "name": "pocketkube-schedules",
            "behavior": "replace",
            "files": ["schedules.yaml"],
        }
        document["configMapGenerator"] = [own]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
    (folder / "namespace.yaml").write_text(yaml.safe_dump(_namespace(namespace)))
    kubeconfig = Path(os.environ["KUBECONFIG"])
    kubectl(
        kubeconfig,
        *("apply", "--validate=strict", "--warnings-as-errors", "--server-side"),
        *("-k", str(folder)),
    )


def _namespace(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "builtin",
        "kind": "NamespaceTransformer",
        "metadata": {"name": "namespace", "namespace": name},
        "setRoleBindingSubjects": "allServiceAccounts",
        "fieldSpecs": [{"kind": "Namespace", "path": "metadata/name", "create": True}],
    }
