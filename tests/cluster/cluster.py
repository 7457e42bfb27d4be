"""A whole cluster on this machine: up, down, and which one is there."""

import hashlib
import json
import os
import shlex
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.cluster import cgroups, network
from tests.cluster.addons import start_dns, start_mpi_operator, start_store
from tests.cluster.binaries import CACHE, HOST, binary, build
from tests.cluster.control_plane import ControlPlane, start_control_plane
from tests.cluster.emulation import fetch_emulator, start_emulation, stop_emulation
from tests.cluster.kubectl import kubectl
from tests.cluster.machine import Machine, refuse_unseen, start_machine
from tests.cluster.missing import Missing
from tests.cluster.nodes import start_node
from tests.cluster.progress import say, until

FOLDER = Path(os.environ.get("POCKETKUBE_CLUSTER") or Path(__file__).parents[2] / ".cluster").resolve()
KUBECONFIG = FOLDER / "kubeconfig"
# What a shell reads to use the cluster.
ENVIRONMENT = FOLDER / "environment"
_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_ADDONS = ("kubectl", "coredns", "mpi-operator", "versitygw", "pause")
_NODES = "nodes.json"
_MARK = ".made-by-pocketkube"


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
    """Brings a cluster up in place of what this checkout had before, on a machine that can run one.

    Args:
        arm: Whether a second node, of arm64, is wanted.

    Raises:
        Missing: If a program cannot be built, or a folder is not one for a cluster.
        Stuck: If a part of it does not come up.
    """
    refuse_unseen(FOLDER, "POCKETKUBE_CLUSTER")
    refuse_unseen(CACHE, "XDG_CACHE_HOME")
    _refuse_foreign_folder()
    build_programs(arm=arm)
    second = _has_second(arm=arm)
    if second:
        fetch_emulator()
    down()
    try:
        _up(second=second)
    except BaseException:
        stop()
        raise


def build_programs(*, arm: bool) -> None:
    """Builds what a cluster runs by, where this machine has not built it before; see `up`."""
    build((*_PROGRAMS, *_ADDONS))
    if _has_second(arm=arm):
        build(("kubelet", "pause"), "arm64")


def _has_second(*, arm: bool) -> bool:
    return arm and HOST != "arm64"


def _up(*, second: bool) -> None:
    FOLDER.mkdir(mode=0o755)
    (FOLDER / _MARK).touch()
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
    store = start_store(first, address, plane.kubeconfig)
    start_mpi_operator(first, plane.kubeconfig)
    start_dns(first, address, plane.kubeconfig)
    for node in nodes:
        _wait_until_ready(node, plane)
    _wait_for_account(first, plane)
    _write_environment({"KUBECONFIG": str(plane.kubeconfig), **store})
    _remember(nodes)


def _write_environment(variables: Mapping[str, str]) -> None:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    # Behind what the machine has: a kubectl of its own comes first.
    lines.append(f'export PATH="$PATH":{shlex.quote(str(binary("kubectl").parent))}')
    with open(ENVIRONMENT, "w", opener=partial(os.open, mode=0o600)) as file:
        file.write("\n".join([*lines, ""]))


def down() -> None:
    """Takes this checkout's cluster down, and all that is left of one, however it ended.

    Raises:
        Missing: If its folder is not one that a cluster made.
        OSError: If something does not go.
    """
    ended = _end_processes()
    if FOLDER.exists():
        _refuse_foreign_folder()
        say(f"{ended} processes have ended; {FOLDER} is removed: with images a minute or two")
        # The mark goes last: what could not be removed is still ours.
        for place in sorted(FOLDER.iterdir(), key=lambda place: place.name == _MARK):
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        FOLDER.rmdir()
        say("the cluster is gone")


def stop() -> None:
    """Ends this checkout's cluster after a failure; its folder stays, whose logs tell more."""
    try:
        _end_processes()
    except OSError as error:
        # Said beside the failure, which is the one to be raised.
        say(str(error))
    say(f"the cluster has ended; its logs are in {FOLDER} until make cluster-down")


def _refuse_foreign_folder() -> None:
    if FOLDER.exists() and any(FOLDER.iterdir()) and not (FOLDER / _MARK).exists():
        raise Missing(
            f"{FOLDER} holds what no cluster wrote, and would be removed: empty it, or let "
            "POCKETKUBE_CLUSTER name another folder"
        )


def _end_processes() -> int:
    group = group_of(FOLDER)
    try:
        return cgroups.remove(group)
    finally:
        network.disconnect(owner=group)
        stop_emulation(group)


@contextmanager
def alone() -> Iterator[None]:
    """Keeps other commands from this checkout's cluster meanwhile.

    Raises:
        Missing: If another is at it.
    """
    with socket.socket(socket.AF_UNIX) as held:
        try:
            # A name without a file: it is free again as soon as this process has ended.
            held.bind(f"\0{group_of(FOLDER)}")
        except OSError:
            raise Missing(
                "another command is at work on this checkout's cluster: wait for it"
            ) from None
        yield


def is_named() -> bool:
    """Whether KUBECONFIG names this checkout's cluster."""
    named = os.environ.get("KUBECONFIG")
    return named is not None and Path(named).resolve() == KUBECONFIG


def nodes(folder: Path = FOLDER) -> list[Node]:
    """The nodes of the cluster in a folder, by default this checkout's; none where it is not up."""
    if not (folder / _NODES).is_file():
        return []
    alive = cgroups.processes(group_of(folder))
    return [
        Node(node["arch"], Machine(**{**node["machine"], "folder": Path(node["machine"]["folder"])}))
        for node in json.loads((folder / _NODES).read_text())
        # The list outlives its cluster, whose processes' numbers may be others' by now.
        if node["machine"]["process"] in alive
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


def _wait_for_account(machine: Machine, plane: ControlPlane) -> None:
    """No pod of the namespace is admitted before, and who makes pods tries again ever more seldom."""
    until(
        lambda: _is_there("serviceaccount/default", plane.kubeconfig),
        "the service account of pods",
        seconds=60,
        log=machine.log("kube-controller-manager"),
    )


def _is_there(named: str, kubeconfig: Path) -> bool:
    return bool(kubectl(kubeconfig, "get", named, "--ignore-not-found", "-oname"))


def _is_ready(name: str, kubeconfig: Path) -> bool:
    asked = "{.status.conditions[?(@.type=='Ready')].status}"
    try:
        return kubectl(kubeconfig, "get", "node", name, f"-ojsonpath={asked}") == "True"
    # It takes a moment until the node has registered itself.
    except OSError:
        return False
