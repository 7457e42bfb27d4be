"""Kubernetes's own servers: etcd, the API server, the controllers and the scheduler."""

import json
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import binary
from tests.cluster.certificates import Authority
from tests.cluster.machine import Machine
from tests.cluster.network import API_SERVICE, PODS, SERVICES
from tests.cluster.progress import say, until

PORT = 6443


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane.

    Attributes:
        authority: The certificate that its clients and servers trust.
        kubeconfig: What lets its owner in.
    """

    authority: Path
    kubeconfig: Path


def start_control_plane(machine: Machine, address: str, folder: Path) -> ControlPlane:
    """Starts it, and waits until the API server answers.

    Args:
        machine: Where it runs.
        address: The machine's address.
        folder: Gets the keys and the kubeconfig.

    Raises:
        Stuck: If the API server does not come up.
    """
    authority = Authority(folder / "pki")
    hosts = [address, API_SERVICE, "127.0.0.1", "kubernetes", "kubernetes.default"]
    hosts += ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    server = authority.issue("server", "kube-apiserver", hosts=hosts)
    owner = authority.issue("owner", "pocketkube-test", "system:masters")
    accounts = authority.key_pair("accounts")
    kubeconfig = folder / "kubeconfig"
    write_kubeconfig(kubeconfig, f"https://{address}:{PORT}", authority.certificate, owner)
    plane = ControlPlane(authority.certificate, kubeconfig)

    machine.start("etcd", f"--data-dir={machine.folder / 'etcd'}", "--unsafe-no-fsync")
    _start_api_server(machine, address, plane, server, owner, accounts)
    until(
        lambda: answers(f"https://{address}:{PORT}/readyz", plane.authority, owner),
        "the API server",
        seconds=60,
        log=machine.log("kube-apiserver"),
    )
    say("the API server answers")
    machine.start(
        binary("kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        f"--root-ca-file={plane.authority}",
        f"--service-account-private-key-file={accounts[1]}",
        f"--cluster-cidr={PODS}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        # The default waits most of a minute before it looks after a node's pods again.
        "--node-monitor-grace-period=20s",
        # An API server that goes away while they start ends them; a kubelet would start them again.
        again=True,
    )
    machine.start(
        binary("kube-scheduler"), f"--kubeconfig={kubeconfig}", "--leader-elect=false", again=True
    )
    return plane


def _start_api_server(
    machine: Machine,
    address: str,
    plane: ControlPlane,
    server: tuple[Path, Path],
    owner: tuple[Path, Path],
    accounts: tuple[Path, Path],
) -> None:
    machine.start(
        binary("kube-apiserver"),
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={address}",
        f"--secure-port={PORT}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--tls-cert-file={server[0]}",
        f"--tls-private-key-file={server[1]}",
        f"--client-ca-file={plane.authority}",
        f"--kubelet-client-certificate={owner[0]}",
        f"--kubelet-client-key={owner[1]}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={accounts[0]}",
        f"--service-account-signing-key-file={accounts[1]}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged",
        # Such watches begin without a resourceVersion, which Debian's etcd 3.4 refuses: informers that
        # ask for them, Argo's among them, would list everything again every tens of seconds.
        "--feature-gates=WatchList=false",
    )


def answers(url: str, authority: Path, owner: tuple[Path, Path]) -> bool:
    """Whether an API server says yes at a URL.

    Args:
        url: The URL.
        authority: The certificate that its own is signed by.
        owner: The certificate and the key of who asks.
    """
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(*owner)
    opener = urllib.request.build_opener(
        # No proxy reaches a network that only this machine knows.
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=context),
    )
    try:
        with opener.open(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def write_kubeconfig(path: Path, server: str, authority: Path, owner: tuple[Path, Path]) -> None:
    """Writes what lets its owner into a cluster.

    Args:
        path: Where to.
        server: The API server's URL.
        authority: The certificate that its own is signed by.
        owner: The owner's certificate and key.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pocketkube-test",
        "clusters": [
            {
                "name": "pocketkube-test",
                "cluster": {"server": server, "certificate-authority": str(authority)},
            }
        ],
        "users": [
            {
                "name": "pocketkube-test",
                "user": {"client-certificate": str(owner[0]), "client-key": str(owner[1])},
            }
        ],
        "contexts": [
            {
                "name": "pocketkube-test",
                "context": {"cluster": "pocketkube-test", "user": "pocketkube-test"},
            }
        ],
    }
    # JSON is YAML.
    path.write_text(json.dumps(content, indent=1))
    path.chmod(0o600)
