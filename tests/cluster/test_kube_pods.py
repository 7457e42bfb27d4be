"""Pods on a real cluster: what keeps them from starting, what ends them, and what they write."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pocketkube.kube import Session, objects
from pocketkube.kube.logs import follow_log, last_lines
from pocketkube.kube.objects import POD
from pocketkube.kube.pods import Ending, Stuck, why_ended, why_stuck
from pocketkube.kube.watching import watch
from tests.cluster.faulty import faulty
from tests.cluster.jobs import IMAGE
from tests.cluster.test_kube_objects import core, wait_for
from tests.storage.relay import Cut

LIMIT_S = 180


def pod(name: str, arch: str, script: str = "", container: Any = (), **spec: Any) -> dict[str, Any]:
    """A pod that a restricted namespace takes; it runs a script of Python's."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    main = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-uc", script],
        "securityContext": security,
        **dict(container),
    }
    common = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
    common["nodeSelector"] = {"kubernetes.io/arch": arch}
    init = spec.pop("init", None)
    if init:
        common["initContainers"] = [{**main, "name": "before", "command": ["python3", "-c", init]}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {**common, "containers": [main], **spec},
    }


def read(session: Session, name: str) -> dict[str, Any]:
    found = objects.get(session, POD, name)
    assert found is not None
    return found


def test_what_keeps_pods_from_starting(session: Session, arch: str) -> None:
    secret = {"name": "keys", "secret": {"secretName": "absent"}}
    mount = {"volumeMounts": [{"name": "keys", "mountPath": "/keys"}]}
    absent = {"image": "localhost/absent:1", "imagePullPolicy": "Never"}
    kept = {
        "node": pod("node", arch, nodeSelector={"pool": "absent"}),
        "image": pod("image", arch, container=absent),
        "name": pod("name", arch, container={"image": "Not an image"}),
        "keys": pod("keys", arch, container={"envFrom": [{"secretRef": {"name": "absent"}}]}),
        "volume": pod("volume", arch, container=mount, volumes=[secret]),
        "gate": pod("gate", arch, schedulingGates=[{"name": "pocketkube.io/test"}]),
        "command": pod("command", arch, container={"command": ["/absent"]}, restartPolicy="Always"),
    }
    for document in kept.values():
        objects.create(session, document)

    def why(name: str) -> Stuck:
        return wait_for(lambda: why_stuck(session, read(session, name)), LIMIT_S)

    assert str(why("node")).startswith("pod node waits for a node: 0/")
    assert "node(s) didn't match Pod's node affinity/selector" in str(why("node"))
    assert str(why("image")).startswith("pod image cannot have its image (ErrImageNeverPull): ")
    assert "localhost/absent:1" in str(why("image"))
    assert str(why("name")).startswith("pod name cannot have its image (InvalidImageName): ")
    assert str(why("keys")) == (
        'pod keys does not start (CreateContainerConfigError): secret "absent" not found'
    )
    assert str(why("volume")).startswith("pod volume does not start (FailedMount): ")
    assert 'secret "absent" not found' in str(why("volume"))
    assert why("gate").reason == "SchedulingGated"
    assert '"/absent"' in wait_for(lambda: "absent" in str(why("command")) and str(why("command")))
    for name in kept:
        assert "\n" not in str(why(name))
        assert why_ended(read(session, name)) is None


def test_what_ended_pods(session: Session, arch: str) -> None:
    limits = {"resources": {"limits": {"memory": "64Mi"}, "requests": {"memory": "64Mi"}}}
    told = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    ended = {
        "well": pod("well", arch, "print('done')"),
        "badly": pod("badly", arch, "print('no such file'); raise SystemExit(3)", container=told),
        "memory": pod("memory", arch, "b'a' * (1 << 28)", container=limits),
        "fault": pod("fault", arch, "import ctypes; ctypes.string_at(0)"),
        "before": pod("before", arch, init="raise SystemExit(7)"),
        "late": pod("late", arch, "import time; time.sleep(600)", activeDeadlineSeconds=1),
    }
    for document in ended.values():
        objects.create(session, document)

    def why(name: str) -> Ending:
        return wait_for(lambda: why_ended(read(session, name)), LIMIT_S)

    assert why("well").is_success
    assert str(why("badly")) == "container main of pod badly ended with exit code 3: no such file"
    assert str(why("memory")) == (
        "container main of pod memory was killed for memory (OOMKilled): its limit is 64Mi"
    )
    assert str(why("fault")) == "container main of pod fault was ended by SIGSEGV"
    assert (why("fault").signal, why("badly").signal) == (11, None)
    assert str(why("before")) == "container before of pod before ended with exit code 7"
    assert str(why("late")).startswith("pod late was ended (DeadlineExceeded): Pod was active")
    assert [name for name in ended if why(name).is_success] == ["well"]
    # One that had ended is not said to be ended by whoever removes it.
    assert seen_last(session, "badly", lambda: remove(session, "badly")).exit_code == 3
    assert last_lines(session, "well") == ("done",)


def test_who_ended_a_pod_that_ran(session: Session, arch: str) -> None:
    for name in ("deleted", "evicted"):
        objects.create(session, pod(name, arch, "import time; time.sleep(600)"))
        wait_for(lambda name=name: read(session, name)["status"].get("phase") == "Running", LIMIT_S)
    assert why_ended(read(session, "deleted")) is None
    assert str(seen_last(session, "deleted", lambda: remove(session, "deleted"))) == (
        "pod deleted was deleted"
    )
    eviction = {"metadata": {"name": "evicted", "namespace": session.namespace}}

    def evict() -> None:
        core(session).create_namespaced_pod_eviction("evicted", session.namespace, eviction)

    assert seen_last(session, "evicted", evict).reason == "EvictionByEvictionAPI"


def remove(session: Session, name: str) -> None:
    core(session).delete_namespaced_pod(name, session.namespace)


def seen_last(session: Session, name: str, act: Callable[[], None]) -> Ending:
    """Why a pod ended, as its last state says."""
    states = watch(session, POD, name=name, seconds=LIMIT_S)
    next(states)
    act()
    last = next(state for state in states if state.is_gone)
    ending = why_ended(last.document)
    assert ending is not None
    return ending


COUNTS = """
import sys, time
for number in range(2000):
    print(number, "x" * 50)
    if number % 100 == 0: time.sleep(0.2)
print("y" * 40000)
sys.stdout.write("the end")
"""
WRITTEN = [f"{number} {'x' * 50}" for number in range(2000)] + ["y" * 40000, "the end"]


def test_a_log_is_whole_though_the_connection_breaks(
    session: Session, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.create(session, pod("writer", arch, COUNTS))
    # In the midst of lines, of the long one, and before the first.
    cuts = [Cut(size) for size in (0, 10_000, 10_001, 30_000, 0, 60_000, 130_000)]

    def fault(method: str, path: str) -> Cut | None:
        return cuts.pop(0) if cuts and "follow=true" in path else None

    with faulty(Path(os.environ["KUBECONFIG"]), session.namespace, fault) as through:
        lines = list(follow_log(through, "writer", seconds=LIMIT_S))
    assert [line.text for line in lines] == WRITTEN
    times = [line.time_ns for line in lines]
    assert times == sorted(times)
    assert last_lines(session, "writer", count=1) == ("the end",)
    # And once it has ended.
    assert [line.text for line in follow_log(session, "writer", seconds=LIMIT_S)] == WRITTEN
    assert len(cuts) < 3


RESTARTS = """
import pathlib
mark = pathlib.Path("/tmp/mark")
print("first" if not mark.exists() else "second")
if not mark.exists():
    mark.touch()
    raise SystemExit(1)
"""


def test_a_log_goes_on_with_the_container_that_is_started_again(session: Session, arch: str) -> None:
    mount = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    volumes = [{"name": "tmp", "emptyDir": {}}]
    objects.create(
        session,
        pod("again", arch, RESTARTS, container=mount, volumes=volumes, restartPolicy="OnFailure"),
    )
    lines = [line.text for line in follow_log(session, "again", seconds=LIMIT_S)]
    assert lines == ["first", "second"]


def test_a_log_ends_with_its_pod_or_when_time_is_up(session: Session, arch: str) -> None:
    objects.create(session, pod("long", arch, "import time; print('here'); time.sleep(600)"))
    lines = follow_log(session, "long", seconds=LIMIT_S)
    assert next(lines).text == "here"
    remove(session, "long")
    assert list(lines) == []
    assert list(follow_log(session, "long", seconds=LIMIT_S)) == []
    objects.create(session, pod("never", arch, nodeSelector={"pool": "absent"}))
    assert list(follow_log(session, "never", seconds=2)) == []
    assert last_lines(session, "never") == ()
