"""What runs beside Kubernetes itself, as programs on a machine: DNS, the MPI operator, an S3 server."""

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from tests.cluster import store
from tests.cluster.binaries import binary, module_file
from tests.cluster.kubectl import kubectl
from tests.cluster.machine import Machine
from tests.cluster.network import DNS_SERVICE
from tests.cluster.progress import say, until

REGION = "us-east-1"
MPI_NAMESPACE = "mpi-operator"


def apply(kubeconfig: Path, *objects: dict[str, Any]) -> None:
    """Creates or changes Kubernetes objects."""
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl(kubeconfig, "apply", "--server-side", "-f", "-", given=given)


def start_dns(machine: Machine, address: str, kubeconfig: Path) -> None:
    """Starts CoreDNS, and waits until a look-up through its Service is answered."""
    corefile = machine.folder / "Corefile"
    corefile.write_text(
        f"""\
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
    }}
    cache 5
}}
"""
    )
    machine.start(binary("coredns"), "-conf", corefile)
    apply(
        kubeconfig,
        *_service(
            "kube-system",
            "kube-dns",
            address,
            [("dns", "UDP", 53, 53), ("dns-tcp", "TCP", 53, 53)],
            DNS_SERVICE,
        ),
    )
    until(
        lambda: _resolves(machine, "kubernetes.default.svc.cluster.local"),
        "an answer of the cluster's DNS",
        seconds=60,
        log=machine.log("coredns"),
    )
    say("DNS answers")


def start_mpi_operator(machine: Machine, kubeconfig: Path) -> None:
    """Starts the MPI operator, and waits until it watches."""
    definition = module_file(
        "mpi-operator", "github.com/kubeflow/mpi-operator", "manifests/base/kubeflow.org_mpijobs.yaml"
    )
    kubectl(kubeconfig, "apply", "--server-side", "-f", str(definition))
    apply(kubeconfig, _namespace(MPI_NAMESPACE))
    until(
        lambda: _is_established(kubeconfig),
        "the API server's MPIJobs",
        seconds=30,
        log=machine.log("kube-apiserver"),
    )
    machine.start(
        binary("mpi-operator"),
        f"-kubeConfig={kubeconfig}",
        f"-lock-namespace={MPI_NAMESPACE}",
        # It ends when it cannot renew its lease, as where the API server is away for seconds.
        again=True,
    )
    until(
        lambda: kubectl(kubeconfig, "get", "leases", "-n", MPI_NAMESPACE, "-o", "name"),
        "the MPI operator's lease",
        seconds=60,
        log=machine.log("mpi-operator"),
    )
    say("the MPI operator watches")


def start_store(machine: Machine, address: str, kubeconfig: Path) -> dict[str, str]:
    """Starts an S3 server with a bucket, where Kubeflow Pipelines has its own.

    Returns:
        The variables by which programs of this machine find it.
    """
    content = machine.folder / "store"
    content.mkdir()
    access, secret = "pocketkube", secrets.token_hex(16)
    machine.start(
        binary("versitygw"),
        "--quiet",
        f"--port={address}:{store.PORT}",
        "posix",
        content,
        environment={"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret},
    )
    client = Minio(
        f"{address}:{store.PORT}",
        access_key=access,
        secret_key=secret,
        secure=False,
        region=REGION,
        # Asking again is left to `until`, which knows when to stop and where the log is.
        http_client=urllib3.PoolManager(timeout=2, retries=False),
    )
    until(
        lambda: _has_bucket(client),
        "the S3 server",
        seconds=30,
        log=machine.log("versitygw"),
    )
    apply(
        kubeconfig,
        _namespace(store.NAMESPACE),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": store.SECRET, "namespace": store.NAMESPACE},
            "stringData": {store.ACCESS_KEY: access, store.SECRET_KEY: secret},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": store.CONFIG, "namespace": store.NAMESPACE},
            "data": {"providers": json.dumps({"minio": {"default": _provider()}})},
        },
        *_service(
            store.NAMESPACE, store.SERVICE, address, [("http", "TCP", store.PORT, store.PORT)], None
        ),
    )
    say("the S3 server answers")
    return {
        "AWS_ENDPOINT_URL_S3": f"http://{address}:{store.PORT}",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
    }


def _provider() -> dict[str, Any]:
    """What Kubeflow Pipelines is told of the server; its own defaults name another region."""
    keys = {
        "secretName": store.SECRET,
        "accessKeyKey": store.ACCESS_KEY,
        "secretKeyKey": store.SECRET_KEY,
    }
    return {
        "endpoint": f"{store.SERVICE}.{store.NAMESPACE}:{store.PORT}",
        "region": REGION,
        "disableSSL": True,
        "credentials": {"fromEnv": False, "secretRef": keys},
    }


def _is_established(kubeconfig: Path) -> bool:
    found = json.loads(kubectl(kubeconfig, "get", "crd/mpijobs.kubeflow.org", "-ojson"))
    conditions = found.get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _has_bucket(client: Minio) -> bool:
    try:
        if not client.bucket_exists(store.BUCKET):
            client.make_bucket(store.BUCKET)
    # It takes a moment until the server listens.
    except (HTTPError, MinioException, OSError):
        return False
    return True


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _service(
    namespace: str,
    name: str,
    address: str,
    ports: list[tuple[str, str, int, int]],
    service_address: str | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A Service whose one endpoint is no pod."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            **({"clusterIP": service_address} if service_address else {}),
            "ports": [
                {"name": port, "protocol": protocol, "port": outside, "targetPort": inside}
                for port, protocol, outside, inside in ports
            ],
        },
    }
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [
            {"name": port, "protocol": protocol, "port": inside} for port, protocol, _, inside in ports
        ],
    }
    return service, slices


def _resolves(machine: Machine, name: str) -> bool:
    try:
        return bool(machine.run("getent", "hosts", name))
    except subprocess.CalledProcessError:
        return False
