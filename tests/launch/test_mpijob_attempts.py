"""An MPIJob goes on: what an earlier attempt lost does not end it, nor a warning that has passed."""

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
    "spec": {"runPolicy": {}, "mpiReplicaSpecs": {"Worker": {"replicas": 2}}},
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


QUOTA = {
    "type": "Warning",
    "reason": "MPIJobFailed",
    "message": 'pods "train-worker-1" is forbidden: exceeded quota: small',
    "lastTimestamp": "2026-11-29T12:00:01Z",
}
LAUNCHER = {"kind": "Job", "metadata": {"name": "train-launcher", "uid": "train-launcher"}}


def why_waiting(
    monkeypatch: pytest.MonkeyPatch, warned: str, there: list[dict[str, Any]], launcher: object = None
) -> str | None:
    """What keeps an MPIJob with these pods, of which a quota's warning tells."""
    monkeypatch.setattr(mpijob, "get", lambda *_: launcher)
    of = f"involvedObject.uid={warned}"
    monkeypatch.setattr(
        "pocketkube.kube.pods.find", lambda *_, fields: (QUOTA,) if fields == of else ()
    )
    session = Session(ApiServer("http://127.0.0.1:1", None), "team")
    job = RunningJob(session, MPI_OPERATOR, JOB, WorkerPods(), is_adopted=False)
    for document in there:
        job._pods.see(Seen(document))
    stuck = job._why_waiting(JOB)
    return stuck and stuck.what


def test_a_quota_that_was_full_for_a_moment_does_not_keep_a_job_whose_pods_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pull = [pod("a", "worker", "Pending"), pod("b", "worker", "Pending")]
    assert why_waiting(monkeypatch, "train", pull[:1]) == "MPIJob train"
    assert why_waiting(monkeypatch, "train", pull) is None


def test_a_launcher_that_is_not_made_keeps_a_job_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [pod("a", "worker", "Running"), pod("b", "worker", "Running")]
    assert why_waiting(monkeypatch, "train", workers) == "MPIJob train"
    assert why_waiting(monkeypatch, "train", workers, LAUNCHER) is None
    of_job = (monkeypatch, "train-launcher")
    assert why_waiting(*of_job, workers, LAUNCHER) == "Job train-launcher"
    assert why_waiting(*of_job, [*workers, pod("c", "launcher", "Pending")], LAUNCHER) is None
