"""Images into the nodes of a kind cluster, on a machine that only plays having one."""

import json
import sys

import pytest

from pocketkube import __version__
from tests.cluster.binaries import HOST

OURS = [f"pocketkube:{__version__}", f"pocketkube-benchmark:{__version__}-{HOST}"]


@pytest.fixture
def kind(machine):
    """A machine with docker and a kind cluster "dev", one of whose nodes has what docker has."""
    machine.has("kind", '[ "$*" != "get nodes --name dev" ] || echo dev-new dev-old')
    there = json.dumps({"status": {"id": "sha256:now"}})
    machine.has(
        "docker",
        f"case $1-$2 in image-inspect) echo sha256:now {HOST} ;;"
        f" exec-dev-new) echo '{there}' ;; exec-dev-old) exit 1 ;; esac",
    )
    return machine


def load(machine, *words):
    return machine.run(sys.executable, "-m", "tests.cluster", "load", *words)


def loaded(machine):
    return [call for call in machine.calls("kind") if call.startswith("kind load")]


def test_what_a_job_needs_is_loaded_where_it_is_not(kind):
    done = load(kind, "--kind", "dev")
    assert done.returncode == 0, done.stderr
    assert [call.split()[-1] for call in kind.calls("docker") if " save " in call] == OURS
    assert len(loaded(kind)) == len(OURS)
    assert all(call.endswith(" --name dev --nodes dev-old") for call in loaded(kind))


def test_what_all_nodes_have_is_not_loaded_again(kind):
    kind.has("kind", "echo dev-new")
    done = load(kind, "--kind", "dev", "mine:1")
    assert done.returncode == 0, done.stderr
    assert not loaded(kind)


def test_an_image_that_was_rebuilt_is_loaded_again(kind):
    there = json.dumps({"status": {"id": "sha256:before"}})
    kind.has("docker", f"case $1 in image) echo sha256:now {HOST} ;; exec) echo '{there}' ;; esac")
    done = load(kind, "--kind", "dev", "mine:1")
    assert done.returncode == 0, done.stderr
    assert loaded(kind)[0].endswith(" --nodes dev-new,dev-old")


def test_dockers_image_goes_before_buildahs_as_when_it_is_built(kind):
    kind.has("buildah", f"echo before {HOST}")
    done = load(kind, "--kind", "dev", "mine:1")
    assert done.returncode == 0, done.stderr
    assert not kind.calls("buildah")


def test_an_image_of_buildahs_keeps_its_name(kind):
    kind.has("docker", "exit 1")
    kind.has("buildah", f"echo now {HOST}")
    done = load(kind, "--kind", "dev", "host.example/team/app:1")
    assert done.returncode == 0, done.stderr
    (push,) = (call for call in kind.calls("buildah") if call.startswith("buildah push"))
    assert push.endswith("/image.tar:host.example/team/app:1")


@pytest.mark.parametrize(
    ("cluster", "script", "complaint"),
    [
        ("prod", "", "cluster: kind has no cluster prod (kind get clusters lists those it has)"),
        (
            "dev",
            "echo ERROR: failed to list nodes >&2; echo No docker answers >&2; exit 1",
            "cluster: kind get nodes failed: No docker answers",
        ),
        (
            "dev",
            '[ "$1" = get ] && echo dev-old || { echo no room >&2; exit 1; }',
            "cluster: kind load image-archive failed: no room",
        ),
    ],
    ids=["a wrong name", "no docker", "a full node"],
)
def test_what_kind_cannot_do_is_said_in_one_line(kind, cluster, script, complaint):
    kind.has("kind", script)
    done = load(kind, "--kind", cluster, "mine:1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == complaint
    assert "Traceback" not in done.stderr


def test_a_machine_without_kind_is_told_so(machine):
    done = load(machine, "--kind", "dev")
    assert done.returncode == 1
    assert done.stderr == "cluster: kind is not installed, and KIND=dev names a cluster of kind's\n"
