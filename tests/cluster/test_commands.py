"""What the commands refuse, each in one line, and that they touch nothing then."""

import json
import os
import signal
import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.cluster import cgroups
from tests.cluster.cluster import Node, group_of
from tests.cluster.commands import complaint, run, start
from tests.cluster.machine import Machine
from tests.cluster.progress import until


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH on which all that a cluster needs is found, but for Go."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in (
        *("conntrack", "containerd", "ctr", "etcd", "flock", "ip", "iptables"),
        *("mount", "nsenter", "runc", "unshare"),
    ):
        (folder / name).symlink_to("/bin/true")
    return folder


def test_what_is_missing(folder: Path, programs: Path) -> None:
    (programs / "runc").unlink()
    assert complaint(folder, "up", PATH=str(programs)) == (
        "Go and runc are missing; or let KUBECONFIG name a cluster that runs elsewhere"
    )
    assert not folder.exists()


def test_a_go_that_is_too_old(folder: Path, programs: Path) -> None:
    (programs / "go").write_text("#!/bin/sh\necho go1.19.8\n")
    (programs / "go").chmod(0o755)
    assert complaint(folder, "up", PATH=str(programs)) == (
        "Go 1.25 or newer is missing: go1.19.8 is installed"
    )


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_folder_of_somebody_elses_is_not_removed(folder: Path, command: str) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("")
    assert complaint(folder, command).startswith(f"{folder} holds what no cluster wrote")
    assert [place.name for place in folder.iterdir()] == ["thesis.tex"]
    (folder / "thesis.tex").unlink()


def test_a_folder_that_machines_would_not_see(folder: Path) -> None:
    assert complaint(Path("/run/pocketkube-test"), "up") == (
        "a cluster's machines have a /run of their own and do not see /run/pocketkube-test: "
        "let POCKETKUBE_CLUSTER name a folder elsewhere"
    )


@pytest.mark.parametrize("command", ["up", "down"])
def test_two_commands_at_once(folder: Path, command: str) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"\0{group_of(folder)}")
        assert complaint(folder, command) == (
            "another command is at work on this checkout's cluster: wait for it"
        )


def test_a_cluster_that_has_ended_takes_no_images(folder: Path, tmp_path: Path) -> None:
    # Its number is another's by now: this process's.
    ended = Node("amd64", Machine("node-amd64", folder / "node-amd64", group_of(folder), os.getpid()))
    folder.mkdir()
    (folder / ".made-by-pocketkube").touch()
    (folder / "nodes.json").write_text(json.dumps([asdict(ended)], default=str))
    assert complaint(folder, "load") == ("there is no cluster of this checkout: run make cluster")


def test_a_start_that_is_interrupted_leaves_nothing_but_its_folder(folder: Path) -> None:
    with start(folder, "up") as up:
        until(lambda: (folder / "kubeconfig").exists(), "a cluster", seconds=60, log=folder / "no-log")
        up.send_signal(signal.SIGTERM)
        _, told = up.communicate()
    assert up.returncode == 130
    assert told.endswith("cluster: interrupted\n")
    assert not cgroups.processes(group_of(folder))
    assert list(folder.glob("node-*/logs/*.log"))
    assert run(folder, "down").returncode == 0
    assert not folder.exists()
