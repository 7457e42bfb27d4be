"""How far tasks are, from workflows as a real back end (2.17, Argo 4.0) kept them."""

import base64
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pocketkube.kube.kfp.progress import FailedPod, State, failed_pods, tasks_of, workflow_of

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 27, 1, 20, tzinfo=UTC)


def document(name: str) -> Any:
    return json.loads((HERE / f"workflow_{name}.json").read_text())


def states(manifest: Any) -> list[tuple[str, State, float]]:
    workflow = workflow_of(json.dumps(manifest))
    return [(task.name, task.state, task.seconds) for task in tasks_of(workflow, NOW)]


def node_of(manifest: Any, path: str) -> Any:
    return next(node for node in manifest["status"]["nodes"].values() if node["name"].endswith(path))


def test_a_run_that_failed_within_a_condition() -> None:
    assert states(document("failed")) == [
        ("greet", State.DONE, 6),
        ("shout", State.DONE, 8),
        ("greet-2", State.FAILED, 6),
    ]


def test_the_pod_that_failed_is_found_with_its_name() -> None:
    workflow = workflow_of(json.dumps(document("failed")))
    assert failed_pods(workflow) == (
        FailedPod(
            task="greet-2",
            is_work=True,
            # As kubectl showed it.
            pod="submit-probe-bz9qs-system-container-impl-734906659",
            node="submit-probe-bz9qs-734906659",
            said="main: Error (exit code 1)",
        ),
    )


def test_a_large_run_whose_parts_argo_has_packed() -> None:
    plain, packed = document("failed"), document("failed")
    nodes = json.dumps(packed["status"].pop("nodes")).encode()
    packed["status"]["compressedNodes"] = base64.b64encode(gzip.compress(nodes)).decode()
    assert states(packed) == states(plain)
    assert failed_pods(workflow_of(json.dumps(packed))) == failed_pods(workflow_of(json.dumps(plain)))


def test_cached_tasks() -> None:
    workflow = document("cached")
    assert [(name, state) for name, state, _ in states(workflow)] == [
        ("hello", State.CACHED),
        ("second", State.CACHED),
    ]
    assert failed_pods(workflow_of(json.dumps(workflow))) == ()


def test_a_pod_that_waits_says_why_and_one_that_runs_how_long() -> None:
    manifest = document("failed")
    task = node_of(manifest, "condition-1(0).greet-2")
    task["phase"] = "Running"
    pod = node_of(manifest, "greet-2(0).executor(0)")
    pod |= {"phase": "Pending", "message": "Unschedulable: 0/2 nodes are available", "finishedAt": None}
    found = tasks_of(workflow_of(json.dumps(manifest)), NOW)[-1]
    assert (found.state, found.said) == (State.WAITING, "Unschedulable: 0/2 nodes are available")
    pod |= {"phase": "Running", "message": None}
    found = tasks_of(workflow_of(json.dumps(manifest)), NOW)[-1]
    assert (found.state, found.seconds) == (
        State.RUNNING,
        (NOW - datetime.fromisoformat("2026-11-27T01:17:11Z")).total_seconds(),
    )


def test_an_attempt_that_another_made_good_is_no_failure() -> None:
    manifest = document("failed")
    for path in ("greet-2(0).executor", "condition-1(0).greet-2", "condition-1(0).greet-2(0)"):
        node_of(manifest, path)["phase"] = "Succeeded"
    second = dict(node_of(manifest, "greet-2(0).executor(0)"))
    second |= {"id": "submit-probe-bz9qs-1", "phase": "Succeeded", "startedAt": "2026-11-27T01:17:30Z"}
    second |= {
        "name": second["name"].replace("executor(0)", "executor(1)"),
        "finishedAt": "2026-11-27T01:17:50Z",
    }
    manifest["status"]["nodes"]["second"] = second
    workflow = workflow_of(json.dumps(manifest))
    assert failed_pods(workflow) == ()
    last = tasks_of(workflow, NOW)[-1]
    assert (last.state, last.attempts, last.seconds) == (State.DONE, 2, 20)


def test_a_driver_that_failed_belongs_to_the_task_that_it_prepares() -> None:
    manifest = document("failed")
    node_of(manifest, "greet-2(0).executor(0)")["phase"] = "Succeeded"
    for path in ("shout-driver(0)", "shout-driver"):
        node_of(manifest, path)["phase"] = "Failed"
    (found,) = failed_pods(workflow_of(json.dumps(manifest)))
    assert (found.task, found.is_work) == ("shout", False)
    assert found.pod == "submit-probe-bz9qs-system-container-driver-1028518457"


@pytest.mark.parametrize("text", ["{}", '{"status": {}}', '{"metadata": {"annotations": null}}'])
def test_a_workflow_that_has_not_begun(text: str) -> None:
    assert tasks_of(workflow_of(text), NOW) == ()
