"""What the objects and pods that PocketKube creates on a cluster have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pocketkube.spec.sections import Cluster, Pods
from pocketkube.storage.server_settings import SECRET

MANAGED = {"app.kubernetes.io/managed-by": "pocketkube", "app.kubernetes.io/part-of": "pocketkube"}
STAGE_LABEL = "pocketkube.io/stage"
# A proxy of Istio's would stand between ssh and workers, take CPUs of a measurement, and never end.
NO_SIDECAR = {"sidecar.istio.io/inject": "false"}
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
# The only variables that name a Secret's keys by another name than their own.
_STORE_KEYS = {"AWS_ACCESS_KEY_ID": "accesskey", "AWS_SECRET_ACCESS_KEY": "secretkey"}


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


def object_metadata(name: str, labels: Mapping[str, str], owner: Owner | None) -> dict[str, Any]:
    """An object's metadata.

    Args:
        name: Its name.
        labels: Its labels.
        owner: With what it goes; None where it stays until it is deleted.
    """
    found: dict[str, Any] = {"name": name, "labels": dict(labels)}
    if owner:
        # Nobody waits for the object before the owner goes: that would take a right of its own.
        found["ownerReferences"] = [
            {
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
            }
        ]
    return found


def without_token(cluster: Cluster) -> dict[str, Any]:
    """The fields of a pod's spec by which it runs as the workers' account, and has no right of it."""
    account = {"serviceAccountName": cluster.service_account} if cluster.service_account else {}
    return {"automountServiceAccountToken": False, "enableServiceLinks": False, **account}


def store_environment(environment: Mapping[str, str], cluster: Cluster) -> list[dict[str, Any]]:
    """A container's `env`: variables, and the object store's keys from its Secret."""
    secret = cluster.object_store.secret
    keys = [
        # The pods of a store that needs no keys start all the same.
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}}}
        for name, key in _STORE_KEYS.items()
    ]
    plain = {**environment, SECRET: secret}
    return [*({"name": name, "value": value} for name, value in plain.items()), *keys]


def tolerations(pods: Pods) -> list[dict[str, str]]:
    """A pod's tolerations, without what is left to Kubernetes' defaults."""
    return [
        {name: value for name, value in each.model_dump().items() if value} for each in pods.tolerated
    ]


def pull_secrets(names: Sequence[str]) -> dict[str, Any]:
    """The field of a pod's spec that names Secrets to pull images with."""
    return {"imagePullSecrets": [{"name": name} for name in names]} if names else {}
