"""A second cluster beside the one that the tests run on: it comes up, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.cluster import cgroups
from tests.cluster.binaries import HOST
from tests.cluster.cluster import group_of
from tests.cluster.commands import ROOT, run
from tests.cluster.kubectl import kubectl

NODES = sorted({f"node-{HOST}", "node-arm64"})

ASKS_FOR_A_BUCKET = """
from pocketkube.storage import parse_uri
from pocketkube.storage.server import connect
address = parse_uri("s3://mlpipeline/any")
print(connect(address).client.bucket_exists(address.bucket))
"""


def of_the_cluster(folder: Path, *names: str) -> dict[str, list[str]]:
    """What there is on this machine of the cluster in a folder.

    Args:
        folder: The cluster's.
        names: Network namespaces that it had, and what its addresses began with.
    """
    group = group_of(folder)
    names = (str(folder), group, *names)

    def ours(lines: list[str]) -> list[str]:
        return [line for line in lines if any(name in line for name in names)]

    return {
        "processes": ours(
            [
                f"{place} {_read(place / 'cmdline')} {_namespace(place)}"
                for place in Path("/proc").glob("[0-9]*")
            ]
        ),
        "mounts": ours(_read(Path("/proc/self/mountinfo")).splitlines()),
        "links": ours([_read(place) for place in Path("/sys/class/net").glob("*/ifalias")]),
        "routes": ours(_shown("ip", "route", "show", "table", "all")),
        "rules": ours(_shown("iptables-save")),
        "groups": [str(root / group) for root in cgroups.hierarchies() if (root / group).exists()],
        "emulator": [str(place) for place in Path("/run/pocketkube").rglob(group)],
        "folder": [str(place) for place in folder.parent.glob(f"{folder.name}*")],
    }


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _namespace(process: Path) -> str:
    try:
        return str((process / "ns/net").readlink())
    except OSError:
        return ""


def _shown(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def namespaces(folder: Path) -> set[str]:
    processes = cgroups.processes(group_of(folder))
    return {_namespace(Path("/proc") / str(process)) for process in processes} - {""}


def network(folder: Path) -> str:
    """What the addresses of a cluster begin with."""
    named = json.loads((folder / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
    return str(urlsplit(named).hostname).rpartition(".")[0] + "."


def nodes_ready(folder: Path) -> list[str]:
    found = json.loads(kubectl(folder / "kubeconfig", "get", "nodes", "-ojson"))["items"]
    return sorted(
        node["metadata"]["name"]
        for node in found
        if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
    )


def in_a_shell(line: str, *command: str) -> list[str]:
    """What a command prints in a shell that was given a line first."""
    words = ["sh", "-c", f'{line}\n"$@"', "sh", *command]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    return sorted(done.stdout.splitlines())


def test_a_cluster_comes_up_after_all_of_it_was_killed_and_goes_without_a_trace(folder: Path) -> None:
    up = run(folder, "up", "--arm")
    assert up.returncode == 0, up.stderr
    assert up.stdout == f". {folder / 'environment'}\n"
    assert nodes_ready(folder) == NODES
    assert in_a_shell(up.stdout, "kubectl", "get", "nodes", "-oname") == [f"node/{n}" for n in NODES]
    assert in_a_shell(up.stdout, sys.executable, "-c", ASKS_FOR_A_BUCKET) == ["True"]
    names = namespaces(folder)
    for process in cgroups.processes(group_of(folder)):
        # Most go with the first one of their machine.
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    again = run(folder, "up", "--arm")
    assert again.returncode == 0, again.stderr
    assert nodes_ready(folder) == NODES
    names |= {*namespaces(folder), network(folder)}
    there = of_the_cluster(folder, *names)
    assert all(there[kind] for kind in ("processes", "links", "routes", "groups", "folder"))
    down = run(folder, "down")
    assert down.returncode == 0, down.stderr
    assert not any(of_the_cluster(folder, *names).values())
