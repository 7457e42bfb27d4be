"""The way to a cluster: from within a pod by its service account, from elsewhere by a kubeconfig."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yaml import YAMLError

from pocketkube.errors import UserError
from pocketkube.kube.failures import ApiServerAway
from pocketkube.kube.transport import ApiServer, Patience, Request, ask

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_KUBECONFIG = "~/.kube/config"
_KNOCK = Patience(answer_s=5, total_s=12)


@dataclass(frozen=True)
class Session:
    """A way to a cluster.

    Attributes:
        server: Its API server.
        namespace: Where objects are created and looked for, of kinds that have a namespace.
    """

    server: ApiServer
    namespace: str

    def within(self, namespace: str) -> "Session":
        """The same way, to another namespace."""
        return replace(self, namespace=namespace)


def connect(namespace: str | None = None) -> Session:
    """Reaches the cluster that KUBECONFIG names, or else the one that this process is a pod of.

    Args:
        namespace: Where to; by default the kubeconfig's namespace, or the pod's own.

    Raises:
        ApiServerAway: If its API server does not answer, within some 20 seconds.
        UserError: If the package `kubernetes` is missing, no cluster is named, or the server refuses.
    """
    server, own = _configured()
    try:
        ask(replace(server, patience=_KNOCK), Request("the cluster", "GET", "/version"))
    except ApiServerAway as error:
        raise ApiServerAway(f"{error} Is {_source()} right, and the cluster up?") from error
    return Session(server, namespace or own)


def _configured() -> tuple[ApiServer, str]:
    """The API server, and the namespace that goes with it."""
    try:
        from kubernetes import client, config
    except ImportError:
        raise UserError(
            "a cluster is reached with the package kubernetes, which is missing: pip install "
            "'.[cluster]' in PocketKube's checkout."
        ) from None

    settings: Any = client.Configuration()
    try:
        if is_pod():
            config.load_incluster_config(settings)
            namespace = (ACCOUNT / "namespace").read_text().strip()
        else:
            file = os.environ.get("KUBECONFIG") or _KUBECONFIG
            config.load_kube_config(file, client_configuration=settings)
            context: Any = config.list_kube_config_contexts(file)[1]
            namespace = context["context"].get("namespace") or "default"
        api = client.ApiClient(settings)
    except (config.ConfigException, OSError, ValueError, KeyError, TypeError, YAMLError) as error:
        raise UserError(
            f"no cluster: {_source()} cannot be used ({error!s:.200}); let KUBECONFIG name a "
            "cluster's file."
        ) from None
    return ApiServer(settings.host, api), namespace


def is_pod() -> bool:
    """Whether this process is in a pod, and KUBECONFIG names no other cluster."""
    return not os.environ.get("KUBECONFIG") and (ACCOUNT / "token").exists()


def _source() -> str:
    """Where the settings come from, for messages."""
    if is_pod():
        return "the pod's service account"
    named = os.environ.get("KUBECONFIG")
    return f"KUBECONFIG={named}" if named else f"KUBECONFIG is not set, and {_KUBECONFIG}"
