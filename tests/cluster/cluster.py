"""A whole cluster on this machine: up, down, and which one is there."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster import cgroups, network
from tests.cluster.addons import start_dns, start_mpi_operator, start_store
from tests.cluster.binaries import HOST, binary
from tests.cluster.control_plane import ControlPlane, start_control_plane
from tests.cluster.emulation import fetch_emulator, start_emulation, stop_emulation
from tests.cluster.machine import Machine, start_machine
from tests.cluster.missing import refuse_where_no_cluster_can_run
from tests.cluster.nodes import start_node
from tests.cluster.progress import say, until

FOLDER = Path(os.environ.get("POCKETKUBE_CLUSTER") or Path(__file__).parents[2] / ".cluster").resolve()
KUBECONFIG = FOLDER / "kubeconfig"
_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_ADDONS = ("kubectl", "coredns", "mpi-operator", "versitygw", "pause")
_NODES = "nodes.json"


@dataclass(frozen=True)
class Node:
    """A node of the cluster that runs here.

    Attributes:
        arch: What its pods' programs are built for, in Go's words.
        machine: Where it runs.
    """

    arch: str
    machine: Machine


def up(*, arm: bool) -> None:
    """Brings a cluster up in place of what this checkout had before.

    Args:
        arm: Whether a second node, of arm64, is wanted.

    Raises:
        Missing: If this machine lacks what a cluster needs.
        Stuck: If a part of it does not come up.
    """
    refuse_where_no_cluster_can_run()
    for name in (*_PROGRAMS, *_ADDONS):
        binary(name)
    second = arm and HOST != "arm64"
    if second:
        for name in ("kubelet", "pause"):
            binary(name, "arm64")
        fetch_emulator()
    down()
    try:
        _up(second=second)
    except BaseException:
        # The folder stays: its logs tell what went wrong.
        _end_processes()
        raise


def _up(*, second: bool) -> None:
    FOLDER.mkdir(mode=0o755)
    (FOLDER / "resolv.conf").write_text(f"nameserver {network.DNS_SERVICE}\n")
    first = _start_machine(f"node-{HOST}")
    links = network.connect(first, owner=group_of(FOLDER))
    address = links.address(2)
    plane = start_control_plane(first, address, FOLDER)
    start_node(first, 1, HOST, address, plane)
    nodes = [Node(HOST, first)]
    if second:
        machine = _start_machine("node-arm64")
        network.join(first, machine, links)
        start_emulation(group_of(FOLDER))
        start_node(machine, 2, "arm64", links.address(6), plane)
        nodes.append(Node("arm64", machine))
    start_store(first, address, plane.kubeconfig)
    start_mpi_operator(first, plane.kubeconfig)
    start_dns(first, address, plane.kubeconfig)
    for node in nodes:
        _wait_until_ready(node, plane)
    _remember(nodes)


def down() -> None:
    """Takes this checkout's cluster down, and all that is left of one, however it ended.

    Raises:
        OSError: If something does not go.
    """
    ended = _end_processes()
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
        say(f"the cluster is gone ({ended} processes ended)")


def _end_processes() -> int:
    ended = cgroups.remove(group_of(FOLDER))
    stop_emulation(group_of(FOLDER))
    network.disconnect(owner=group_of(FOLDER))
    return ended


def nodes() -> list[Node]:
    """The nodes of this checkout's cluster; none where it is not up."""
    if not (FOLDER / _NODES).is_file():
        return []
    found = json.loads((FOLDER / _NODES).read_text())
    return [
        Node(node["arch"], Machine(**{**node["machine"], "folder": Path(node["machine"]["folder"])}))
        for node in found
    ]


def _remember(nodes: list[Node]) -> None:
    (FOLDER / _NODES).write_text(json.dumps([asdict(node) for node in nodes], default=str, indent=1))


def group_of(folder: Path) -> str:
    """The control group of the cluster in a folder."""
    return f"pocketkube-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def _start_machine(name: str) -> Machine:
    return start_machine(name, FOLDER / name, f"{group_of(FOLDER)}/{name}", FOLDER / "resolv.conf")


def _wait_until_ready(node: Node, plane: ControlPlane) -> None:
    name = node.machine.name
    until(
        lambda: _is_ready(name, plane.kubeconfig),
        f"the node {name}",
        seconds=180,
        log=node.machine.log("kubelet"),
    )
    say(f"{name} is ready")


def _is_ready(name: str, kubeconfig: Path) -> bool:
    asked = "{.status.conditions[?(@.type=='Ready')].status}"
    done = subprocess.run(
        [binary("kubectl"), f"--kubeconfig={kubeconfig}", "get", "node", name, f"-ojsonpath={asked}"],
        capture_output=True,
        text=True,
    )
    return done.stdout == "True"
