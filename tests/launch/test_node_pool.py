"""A Job that measures on other nodes is followed: what it is given up for is what has kept it."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from pocketkube.kube.session import Session
from pocketkube.kube.transport import ApiServer, Document
from pocketkube.kube.watching import Seen
from pocketkube.launch import node_pool
from pocketkube.launch.node_pool import NodePoolJob
from pocketkube.launch.outcome import Cause, Outcome
from pocketkube.spec.sections import Cluster

NO_NODE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available",
}
RUNNING = {"name": "benchmark", "state": {"running": {}}}


def job(**condition: str) -> Document:
    conditions = [{"status": "True", **condition}] if condition else []
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "b", "uid": "b"},
        "spec": {"completions": 1},
        "status": {"conditions": conditions},
    }


def pod(phase: str, **status: Any) -> Document:
    return {
        "metadata": {"name": "b-0", "uid": "b-0"},
        "spec": {"containers": [{"name": "benchmark"}], "restartPolicy": "Never"},
        "status": {"phase": phase, **status},
    }


TOO_LATE = job(type="Failed", reason="DeadlineExceeded", message="was active longer than specified")


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Follows a Job through what is seen of its pods, each time with what the Job is then."""

    def outcome(*seen: tuple[Document, Document]) -> Outcome:
        jobs: list[Document] = []

        def watched(*_: Any, **__: Any) -> Iterable[Seen | None]:
            for document, there in seen:
                jobs.append(there)
                yield Seen(document)
                yield None

        monkeypatch.setattr(node_pool, "watch_with_pauses", watched)
        monkeypatch.setattr(node_pool, "get", lambda *_: jobs[-1])
        monkeypatch.setattr(node_pool, "find", lambda *_: ())
        monkeypatch.setattr(node_pool, "delete", lambda *_: None)
        session = Session(ApiServer("http://127.0.0.1:1", None), "team")
        return NodePoolJob(session, Cluster(), job(), is_adopted=False).outcome

    return outcome


def test_a_pod_that_measures_for_too_long_is_not_waited_for(outcome: Callable[..., Outcome]) -> None:
    ended = pod("Failed", reason="DeadlineExceeded", message="Pod was active on the node longer")
    found = outcome((pod("Running", containerStatuses=[RUNNING]), job()), (ended, job()))
    assert found.cause is Cause.TIME_OUT
    assert found.reason == "Measuring took longer than cluster.benchmark.timeout_minutes, 60."


def test_a_job_whose_pods_had_no_node_until_its_deadline_says_so(
    outcome: Callable[..., Outcome],
) -> None:
    waits = pod("Pending", conditions=[NO_NODE])
    found = outcome((waits, job()), (waits, TOO_LATE))
    assert found.cause is Cause.NO_NODE
    assert found.reason == "Nothing was measured: pod b-0 waits for a node: 0/3 nodes are available."


def test_a_job_that_waited_first_and_measured_for_too_long_says_that(
    outcome: Callable[..., Outcome],
) -> None:
    waits = pod("Pending", conditions=[NO_NODE])
    runs = pod("Running", containerStatuses=[RUNNING])
    assert outcome((waits, job()), (runs, job()), (runs, TOO_LATE)).cause is Cause.TIME_OUT
