"""A second cluster beside the one that the tests run on: it comes up, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kubernetes import client, config

from tests.cluster import cgroups
from tests.cluster.binaries import HOST
from tests.cluster.cluster import group_of
from tests.cluster.missing import Missing, refuse_where_no_cluster_can_run

ROOT = Path(__file__).parents[2]
NODES = sorted({f"node-{HOST}", "node-arm64"})


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    try:
        refuse_where_no_cluster_can_run()
    except Missing as missing:
        pytest.skip(str(missing))
    place = tmp_path / "second"
    yield place
    command(place, "down")


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster", *words],
        cwd=ROOT,
        env={**os.environ, "POCKETKUBE_CLUSTER": str(folder)},
        capture_output=True,
        text=True,
    )


def left_behind(folder: Path) -> dict[str, set[str]]:
    """All that a cluster could leave on this machine."""
    return {
        "processes": {
            place.name
            for place in Path("/proc").glob("[0-9]*")
            if str(folder) in _read(place / "cmdline").replace("\0", " ")
        },
        "mounts": set(_read(Path("/proc/mounts")).splitlines()),
        "links": set(_shown("ip", "-brief", "link").splitlines()),
        "routes": set(_shown("ip", "route").splitlines()),
        "network namespaces": set(_shown("ip", "netns").splitlines()),
        "rules": {line for line in _shown("iptables-save").splitlines() if not line.startswith("#")},
        "groups": {str(place) for root in cgroups.hierarchies() for place in root.glob("pocketkube*")},
        "folders": {
            str(place)
            for parent in ("/run", "/var/run", "/var/lib", "/var/log", "/etc/cni")
            for place in Path(parent).glob("*")
        }
        | {str(place) for place in folder.parent.glob("*")},
    }


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _shown(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def nodes_ready(folder: Path) -> list[str]:
    api = config.new_client_from_config(str(folder / "kubeconfig"))
    return sorted(
        node.metadata.name
        for node in client.CoreV1Api(api).list_node().items
        if any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)
    )


def test_a_cluster_comes_up_after_all_of_it_was_killed_and_goes_without_a_trace(folder: Path) -> None:
    before = left_behind(folder)
    up = command(folder, "up", "--arm")
    assert up.returncode == 0, up.stderr
    assert up.stdout == f"export KUBECONFIG={folder / 'kubeconfig'}\n"
    assert nodes_ready(folder) == NODES
    for process in cgroups.processes(group_of(folder)):
        # Most go with the first one of their machine.
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    again = command(folder, "up", "--arm")
    assert again.returncode == 0, again.stderr
    assert nodes_ready(folder) == NODES
    down = command(folder, "down")
    assert down.returncode == 0, down.stderr
    assert left_behind(folder) == before


def test_what_is_missing_is_told_in_one_line(folder: Path, tmp_path: Path) -> None:
    for name in ("ip", "nsenter", "unshare", "iptables", "conntrack", "runc", "etcd", "containerd"):
        (tmp_path / name).symlink_to("/bin/true")
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster", "up"],
        cwd=ROOT,
        env={**os.environ, "POCKETKUBE_CLUSTER": str(folder), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode
    assert done.stderr == (
        "cluster: not installed: golang, 1.24 or newer (Debian's names); "
        "or let KUBECONFIG name a cluster that runs elsewhere\n"
    )
    assert not folder.exists()
