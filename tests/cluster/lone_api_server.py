"""An API server with its etcd and nothing else, which may be stopped and started as a test likes."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.binaries import binary
from tests.cluster.certificates import Authority
from tests.cluster.control_plane import answers, write_kubeconfig
from tests.cluster.progress import until

_READY_S = 60


@dataclass
class LoneApiServer:
    """A running API server, without controllers and nodes.

    Attributes:
        kubeconfig: What lets its owner in.
        endpoint: Its URL.
    """

    kubeconfig: Path
    endpoint: str
    _command: Sequence[str]
    _authority: Path
    _owner: tuple[Path, Path]
    _log: Path
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        ready = f"{self.endpoint}/readyz"
        until(
            lambda: answers(ready, self._authority, self._owner),
            "the API server",
            seconds=_READY_S,
            log=self._log,
        )

    def stop(self) -> None:
        """Ends it at once, as a machine does that loses its power."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def lone_api_server(folder: Path) -> Iterator[LoneApiServer]:
    """Runs one until the block ends.

    Args:
        folder: An empty one for its keys, logs and objects.
    """
    store, peers, port = _free_port(), _free_port(), _free_port()
    authority = Authority(folder / "pki")
    server = authority.issue("server", "kube-apiserver", hosts=["127.0.0.1"])
    owner = authority.issue("owner", "pocketkube-test", "system:masters")
    accounts = authority.key_pair("accounts")
    kubeconfig, endpoint = folder / "kubeconfig", f"https://127.0.0.1:{port}"
    write_kubeconfig(kubeconfig, endpoint, authority.certificate, owner)
    command = (
        str(binary("kube-apiserver")),
        f"--etcd-servers=http://127.0.0.1:{store}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--endpoint-reconciler-type=none",
        # Any will do that is no loopback address; nobody is told.
        "--advertise-address=192.0.2.1",
        f"--tls-cert-file={server[0]}",
        f"--tls-private-key-file={server[1]}",
        f"--client-ca-file={authority.certificate}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={accounts[0]}",
        f"--service-account-signing-key-file={accounts[1]}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--feature-gates=WatchList=false",
    )
    log = folder / "kube-apiserver.log"
    lone = LoneApiServer(kubeconfig, endpoint, command, authority.certificate, owner, log)
    with (folder / "etcd.log").open("wb") as said:
        etcd = subprocess.Popen(
            [
                "etcd",
                f"--data-dir={folder / 'etcd'}",
                "--unsafe-no-fsync",
                f"--listen-client-urls=http://127.0.0.1:{store}",
                f"--advertise-client-urls=http://127.0.0.1:{store}",
                f"--listen-peer-urls=http://127.0.0.1:{peers}",
            ],
            stdout=said,
            stderr=said,
        )
    try:
        lone.start()
        yield lone
    finally:
        lone.stop()
        etcd.kill()
        etcd.wait()


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port
