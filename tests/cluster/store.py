"""The cluster's S3 server, found as Kubeflow Pipelines' own launcher finds it: by its ConfigMap."""

import base64
from dataclasses import dataclass
from urllib.parse import urlsplit

import yaml
from kubernetes import client
from pydantic import BaseModel, Field

NAMESPACE, CONFIG = "kubeflow", "kfp-launcher"
# What the launcher takes where its ConfigMap does not say otherwise.
SERVICE, PORT, BUCKET = "seaweedfs", 9000, "mlpipeline"
SECRET, ACCESS_KEY, SECRET_KEY = "mlpipeline-minio-artifact", "accesskey", "secretkey"


@dataclass(frozen=True)
class Store:
    """Where pipelines keep their artifacts.

    Attributes:
        host: Name and port of the server, as pods reach it.
        secure: Whether it is reached by TLS.
        bucket: The bucket.
        folder: Where in it artifacts are.
        secret: Name of the Secret that holds the keys.
        access_key: The Secret's entry with the first of them.
        secret_key: The Secret's entry with the second.
    """

    host: str
    secure: bool
    bucket: str
    folder: str
    secret: str
    access_key: str
    secret_key: str

    @property
    def endpoint(self) -> str:
        """The server's address, as pods reach it."""
        return f"{'https' if self.secure else 'http'}://{self.host}"


class _SecretRef(BaseModel):
    name: str = Field(SECRET, alias="secretName")
    access_key: str = Field(ACCESS_KEY, alias="accessKeyKey")
    secret_key: str = Field(SECRET_KEY, alias="secretKeyKey")


class _Credentials(BaseModel):
    secret: _SecretRef = Field(_SecretRef(), alias="secretRef")


class _Provider(BaseModel):
    endpoint: str = f"{SERVICE}.{NAMESPACE}:{PORT}"
    without_tls: bool = Field(True, alias="disableSSL")
    credentials: _Credentials = _Credentials()


class _Providers(BaseModel):
    default: _Provider = _Provider()


def find_store() -> Store:
    """The S3 server of the cluster that the client is set to.

    Raises:
        kubernetes.client.ApiException: If its configuration cannot be read.
        ValueError: If it cannot be understood.
    """
    given = client.CoreV1Api().read_namespaced_config_map(CONFIG, NAMESPACE).data or {}
    root = urlsplit(given.get("defaultPipelineRoot") or f"minio://{BUCKET}/v2/artifacts")
    providers = yaml.safe_load(given.get("providers") or "{}")
    found = _Providers.model_validate(providers.get(root.scheme) or {}).default
    # With or without a scheme: the launcher takes both.
    host = found.endpoint.rpartition("//")[2]
    keys = found.credentials.secret
    return Store(
        host=host,
        secure=not found.without_tls,
        bucket=root.netloc,
        folder=root.path.strip("/"),
        secret=keys.name,
        access_key=keys.access_key,
        secret_key=keys.secret_key,
    )


def keys_of(store: Store) -> tuple[str, str]:
    """The store's access key and secret key.

    Raises:
        kubernetes.client.ApiException: If the Secret cannot be read.
    """
    data = client.CoreV1Api().read_namespaced_secret(store.secret, NAMESPACE).data
    access, secret = (
        base64.b64decode(data[key]).decode() for key in (store.access_key, store.secret_key)
    )
    return access, secret


def endpoint_from_here(store: Store) -> str | None:
    """Address of the store's first endpoint, which this machine may reach; None if there is none."""
    service, _, rest = store.host.partition(":")[0].partition(".")
    slices = client.DiscoveryV1Api().list_namespaced_endpoint_slice(
        rest.partition(".")[0] or NAMESPACE, label_selector=f"kubernetes.io/service-name={service}"
    )
    for found in slices.items:
        if found.endpoints and found.ports:
            scheme = "https" if store.secure else "http"
            return f"{scheme}://{found.endpoints[0].addresses[0]}:{found.ports[0].port}"
    return None
