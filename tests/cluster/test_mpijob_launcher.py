"""Training components that run as MPIJobs: how they end, and that a run leaves nothing behind."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kubernetes import client

from pocketkube.bundle import load_bundle
from pocketkube.kube import connect
from pocketkube.kube.transport import Document
from pocketkube.kube.workers import SharedWork
from pocketkube.launch.mpijob import MPI_OPERATOR, OPERATORS, MpiJob, RunningJob
from pocketkube.launch.outcome import Cause, Outcome
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import Cluster
from pocketkube.storage import parse_location, parse_uri
from pocketkube.storage.server import connect as connect_store
from tests.cluster.jobs import IMAGE, SPEC
from tests.cluster.store import SECRET, find_store
from tests.steps import call_of

TRAINING = {"epochs": 2, "batch_size": 64, "workers": 2}
COMPONENT = """
import json, sys
from pocketkube.stages.component import run_component
told = json.loads(sys.argv[1])
run_component("train_model", told["parameters"], told["output"], cluster=told["cluster"])
"""


@pytest.fixture
def own_kubeconfig(namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig whose namespace is the test's."""
    document = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for context in document["contexts"]:
        context["context"]["namespace"] = namespace
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    monkeypatch.setenv("KUBECONFIG", str(file))
    return file


def section(arch: str, work: str, **workers: Any) -> dict[str, Any]:
    """The section cluster of a component whose workers train in pods of the test's namespace."""
    return {
        "launcher": "mpijob",
        "image": IMAGE,
        "object_store": {
            "endpoint": find_store().endpoint,
            "secret": SECRET,
            "work": work,
        },
        "workers": {"node_selector": {"kubernetes.io/arch": arch}, "pending_seconds": 60} | workers,
    }


class Component:
    """A training component, in a process of its own as a task's container has it."""

    def __init__(self, cluster: dict[str, Any], output: Path) -> None:
        told = {
            "parameters": {"model": "lenet", "dataset": {"builtin": "digits"}, "training": TRAINING},
            "output": str(output),
            "cluster": cluster,
        }
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMPONENT, json.dumps(told)],
            env={**os.environ, "KFP_POD_NAME": "task"},
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, found: str) -> None:
        """Reads its lines until one has these words."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if found in line:
                return
        raise AssertionError(f"{found!r} is not among {self.lines}")

    def end(self) -> int:
        """Its exit code, when it has ended."""
        assert self.process.stderr is not None
        self.lines += [line.rstrip() for line in self.process.stderr]
        return self.process.wait(60)


@pytest.fixture
def component() -> Iterator[Callable[..., Component]]:
    started: list[Component] = []

    def start(cluster: dict[str, Any], output: Path) -> Component:
        started.append(Component(cluster, output))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def mpijobs(namespace: str) -> list[dict[str, Any]]:
    found: Any = client.CustomObjectsApi().list_namespaced_custom_object(
        "kubeflow.org", "v2beta1", namespace, "mpijobs"
    )
    return found["items"]


def objects_below(store: str) -> list[str]:
    place = parse_uri(store)
    server = connect_store(place)
    found = server.client.list_objects(place.bucket, prefix=place.object(""), recursive=True)
    return [str(each.object_name) for each in found]


@pytest.mark.usefixtures("own_kubeconfig")
def test_a_component_that_is_killed_finds_its_job_again_and_ends_as_one_process_does(
    namespace: str,
    arch: str,
    store: str,
    steps: dict[str, Path],
    tmp_path: Path,
    component: Callable[..., Component],
) -> None:
    cluster = section(arch, f"{store}/work")
    first = component(cluster, tmp_path / "trained")
    first.until("is created")
    first.process.send_signal(signal.SIGKILL)
    (job,) = mpijobs(namespace)
    second = component(cluster, tmp_path / "trained")
    assert second.end() == 0, second.lines
    assert not any("is created" in line for line in second.lines)
    assert [each["metadata"]["uid"] for each in mpijobs(namespace)] == [job["metadata"]["uid"]]
    assert not (left := objects_below(f"{store}/work")), left
    ours, theirs = load_bundle(tmp_path / "trained"), load_bundle(steps["train_model"])
    assert ours.facts.stages[0].history.workers == 2
    for there, here in zip(ours.model.get_weights(), theirs.model.get_weights(), strict=True):
        np.testing.assert_allclose(there, here, atol=2e-3)


@pytest.mark.usefixtures("own_kubeconfig")
def test_a_component_that_is_ended_leaves_no_pod(
    namespace: str,
    arch: str,
    store: str,
    tmp_path: Path,
    component: Callable[..., Component],
) -> None:
    job = component(section(arch, f"{store}/work"), tmp_path / "trained")
    job.until("[rank ")
    job.process.send_signal(signal.SIGTERM)
    assert job.end() == 1
    assert job.lines[-1] == ("pocketkube: interrupted; the task goes on from here when it runs again.")
    assert mpijobs(namespace) == []
    assert client.CoreV1Api().list_namespaced_pod(namespace).items == []
    assert not (tmp_path / "trained").exists()


def started(namespace: str, arch: str, store: str, epochs: int = 40, **workers: Any) -> RunningJob:
    name = f"train-model-{secrets.token_hex(4)}"
    spec = parse_spec({**SPEC, "training": {**TRAINING, "epochs": epochs, "checkpoint_steps": 5}})
    image = workers.pop("image", IMAGE)
    cluster = Cluster.model_validate(section(arch, f"{store}/work", **workers) | {"image": image})
    call = call_of(spec, "train_model", {}, f"{store}/{name}/output")
    return MpiJob(cluster, name, 2, connect(namespace)).start(call)


def ending(job: RunningJob, *doings: tuple[str, Callable[[], object]]) -> Outcome:
    """A job's outcome; each time that a line holds some words, something is done to it."""
    lines, left = [], list(doings)
    for line in job.follow():
        lines.append(line)
        if left and left[0][0] in line:
            left.pop(0)[1]()
    assert not left, lines
    return job.outcome


def delete_pod(namespace: str, job: RunningJob, role: str) -> None:
    core = client.CoreV1Api()
    selector = f"training.kubeflow.org/job-name={job.name},training.kubeflow.org/job-role={role}"
    pod = core.list_namespaced_pod(namespace, label_selector=selector).items[-1]
    core.delete_namespaced_pod(pod.metadata.name, namespace)


def test_each_ending_has_its_cause_in_one_line(namespace: str, arch: str, store: str) -> None:
    client.CoreV1Api().create_namespaced_resource_quota(
        namespace,
        {"metadata": {"name": "gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}},
    )
    begun = time.monotonic()
    soon = {"pending_seconds": 8}
    jobs = {
        "image": started(namespace, arch, store, image="pocketkube:absent", **soon),
        "node": started(namespace, arch, store, node_selector={"pool": "none"}, **soon),
        "quota": started(namespace, arch, store, gpus=1, **soon),
        "memory": started(namespace, arch, store, memory="256Mi"),
    }
    with ThreadPoolExecutor(len(jobs)) as threads:
        outcomes = dict(zip(jobs, threads.map(ending, jobs.values()), strict=True))
    print(f"{time.monotonic() - begun:.0f} s", outcomes)
    causes = {name: outcome.cause for name, outcome in outcomes.items()}
    assert causes == {
        "image": Cause.NO_IMAGE,
        "node": Cause.NO_NODE,
        "quota": Cause.NO_QUOTA,
        "memory": Cause.OUT_OF_MEMORY,
    }
    assert "pocketkube:absent" in outcomes["image"].reason
    assert "node(s) didn't match Pod's node affinity/selector" in outcomes["node"].reason
    assert "exceeded quota: gpus" in outcomes["quota"].reason
    assert "cluster.workers.memory" in outcomes["memory"].reason
    assert not any("\n" in outcome.reason for outcome in outcomes.values())


def test_a_job_that_no_operator_takes_up_is_given_up(
    namespace: str, arch: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anothers(work: SharedWork, cluster: Cluster) -> Document:
        document = MPI_OPERATOR.build(work, cluster)
        document["spec"]["runPolicy"]["managedBy"] = "kueue.x-k8s.io/multikueue"
        return document

    monkeypatch.setitem(OPERATORS, "mpijob", replace(MPI_OPERATOR, build=anothers))
    job = started(namespace, arch, store, pending_seconds=8)
    outcome = ending(job)
    assert outcome.cause is Cause.NOT_STARTED
    assert f"MPIJob {job.name} does not start (NoPods): nothing is made of it" in outcome.reason
    assert f"look after the namespace {namespace}." in outcome.reason
    assert (
        client.CustomObjectsApi().list_namespaced_custom_object(
            "kubeflow.org", "v2beta1", namespace, "mpijobs"
        )["items"]
        == []
    )


@pytest.mark.parametrize("role", ["launcher", "worker"])
def test_a_pod_that_is_deleted_is_the_cause(namespace: str, arch: str, store: str, role: str) -> None:
    job = started(namespace, arch, store)
    outcome = ending(job, ("[rank ", lambda: delete_pod(namespace, job, role)))
    assert outcome.cause is Cause.NODE_LOST, outcome
    assert f"{job.name}-{role}" in outcome.reason
    assert "was deleted" in outcome.reason


def scale(namespace: str, job: RunningJob, workers: int) -> None:
    client.CustomObjectsApi().patch_namespaced_custom_object(
        "kubeflow.org",
        "v2beta1",
        namespace,
        "mpijobs",
        job.name,
        {"spec": {"mpiReplicaSpecs": {"Worker": {"replicas": workers}}}},
    )


def test_training_goes_on_while_workers_come_and_go(namespace: str, arch: str, store: str) -> None:
    elastic = {"min_workers": 1, "max_workers": 3}
    job = started(namespace, arch, store, epochs=2000, elastic=elastic)
    outcome = ending(
        job,
        ("stage=train step=", lambda: delete_pod(namespace, job, "worker")),
        ("is lost; work goes on with 1", lambda: None),
        ("takes part; work goes on with 2", lambda: scale(namespace, job, 1)),
        ("is lost; work goes on with 1", lambda: scale(namespace, job, 3)),
        ("takes part; work goes on with 3", job.cancel),
    )
    assert outcome.cause is Cause.INTERRUPTED


def test_what_is_left_of_the_workers_learns_all(
    namespace: str, arch: str, store: str, tmp_path: Path
) -> None:
    job = started(namespace, arch, store, elastic={"min_workers": 1, "max_workers": 2})
    outcome = ending(job, ("stage=train step=", lambda: delete_pod(namespace, job, "worker")))
    assert outcome.cause is Cause.DONE, outcome
    with parse_location(f"{store}/{job.name}/output").fetched() as folder:
        history = load_bundle(folder).facts.stages[0].history
    assert len(history.loss) == 40
    assert history.loss[-1] < 0.05
