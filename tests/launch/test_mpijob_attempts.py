"""An MPIJob whose launcher is started again: what the first attempt lost does not end the second."""

from typing import Any

import pytest

from pocketkube.kube.session import Session
from pocketkube.kube.transport import ApiServer
from pocketkube.kube.watching import Seen
from pocketkube.launch import mpijob
from pocketkube.launch.mpijob import MPI_OPERATOR, RunningJob
from pocketkube.spec.sections import WorkerPods

JOB: dict[str, Any] = {
    "kind": "MPIJob",
    "metadata": {"name": "train", "uid": "train"},
    "spec": {"runPolicy": {}},
    "status": {"conditions": [{"type": "Running", "status": "True"}]},
}
EVICTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}


def pod(uid: str, role: str, phase: str, **status: object) -> dict[str, Any]:
    return {
        "metadata": {
            "name": uid,
            "uid": uid,
            "creationTimestamp": "2026-11-29T12:00:00Z",
            "labels": {"training.kubeflow.org/job-role": role},
        },
        "spec": {"containers": [{"name": "stage"}], "restartPolicy": "Never"},
        "status": {"phase": phase, **status},
    }


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> RunningJob:
    monkeypatch.setattr(mpijob, "get", lambda *_: JOB)
    monkeypatch.setattr(mpijob, "delete", lambda *_, **__: None)
    session = Session(ApiServer("http://127.0.0.1:1", None), "team")
    found = RunningJob(session, MPI_OPERATOR, JOB, WorkerPods(backoff_limit=2), is_adopted=False)
    for document in (pod("worker", "worker", "Running"), pod("first", "launcher", "Running")):
        found._pods.see(Seen(document))
    found._pods.see(Seen(pod("worker", "worker", "Failed", conditions=[EVICTED]), is_gone=True))
    return found


def looked_at_later(job: RunningJob, monkeypatch: pytest.MonkeyPatch) -> mpijob.Outcome | None:
    """What has become of it, two minutes later."""
    now = mpijob.time.monotonic() + 120
    monkeypatch.setattr(mpijob.time, "monotonic", lambda: now)
    list(job._look())
    return job._outcome


def test_a_lost_worker_ends_the_attempt_that_lost_it(
    job: RunningJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = looked_at_later(job, monkeypatch)
    assert outcome is not None
    assert "EvictionByEvictionAPI" in outcome.reason


def test_a_lost_worker_does_not_end_the_next_attempt(
    job: RunningJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminated = {"name": "stage", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    job._pods.see(Seen(pod("first", "launcher", "Failed", containerStatuses=[terminated])))
    job._pods.see(Seen(pod("another", "worker", "Running")))
    job._pods.see(Seen(pod("second", "launcher", "Running")))
    assert looked_at_later(job, monkeypatch) is None
