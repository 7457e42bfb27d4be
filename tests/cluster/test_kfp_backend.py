"""The ready pipelines that compress on the Kubeflow Pipelines back end that --kfp-endpoint names."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from pocketkube.errors import UserError
from pocketkube.files.layout import LITERT_FILE, RATIOS_FILE
from pocketkube.spec import Spec, settings_document
from pocketkube.spec.form import SearchForm, spec_of
from pocketkube.stages.parts import checked_parts
from pocketkube.storage import parse_uri
from pocketkube.storage.server import connect
from tests.cluster.backend import Backend, executors, last_line, start, until, wait
from tests.cluster.store import find_store

ROOT = Path(__file__).parents[2]
PARAMETERS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 64,
    # Nothing is in the back end's cache from before.
    "seed": secrets.randbelow(10**6),
    "settings": {"benchmark": {"runs": 10, "threads": [1]}},
}
SEARCH: dict[str, Any] = {**PARAMETERS, "trials": 4, "sampler": "tpe"}
NAME, SEARCH_NAME = "compress-model", "search-and-compress"
# Sums depend on how many threads there are: a pod's are as many as its node has cores.
THREADS = {"OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"}
CRON = "0 * * * * *"


@dataclass(frozen=True)
class Interrupted:
    """A run of which a pod was deleted while its task trained.

    Attributes:
        run: Its id.
        pod: The pod's uid: the one that comes after may have its name.
        ended: How the run ended.
    """

    run: str
    pod: str
    ended: str


@pytest.fixture(scope="module")
def package(packages: Path) -> Path:
    return packages / "compress_model.yaml"


@pytest.fixture(scope="module")
def interrupted(backend: Backend, package: Path) -> Interrupted:
    run = start(backend, package, PARAMETERS)

    def training() -> client.V1ObjectMeta | None:
        pod = executors(backend, run).get("train-model")
        return pod.metadata if pod and pod.status.phase == "Running" else None

    pod = until(training, lambda: "no pod trains", seconds=600)
    # At once, as where its node is lost: a pod that is given time ends with 143, and its task fails.
    client.CoreV1Api().delete_namespaced_pod(pod.name, pod.namespace, grace_period_seconds=0)
    return Interrupted(run, pod.uid, wait(backend, run, seconds=1800))


def test_a_task_whose_pod_is_lost_is_done_again(backend: Backend, interrupted: Interrupted) -> None:
    assert interrupted.ended == "succeeded"
    assert executors(backend, interrupted.run)["train-model"].metadata.uid != interrupted.pod


def test_the_file_is_that_of_one_machine_byte_for_byte(
    backend: Backend, interrupted: Interrupted, tmp_path: Path, store: str
) -> None:
    run_here(spec_of(PARAMETERS), tmp_path)
    here = (tmp_path / LITERT_FILE).read_bytes()
    assert artifacts(NAME, interrupted.run, LITERT_FILE).count(here) == 1


def test_a_second_run_trains_nothing(backend: Backend, package: Path, interrupted: Interrupted) -> None:
    run = start(backend, package, PARAMETERS)
    assert wait(backend, run, seconds=900) == "succeeded"
    # What addresses hold and how fast a node is may have changed; all else comes from the cache.
    assert set(executors(backend, run)) == {"check-spec", "benchmark-litert", "build-report"}


@pytest.mark.parametrize(
    "wrong", [{"speedup": 0.5}, {"settings": {"trainning": {}}}, {"dataset": "/home/me/data"}]
)
def test_a_wrong_parameter_ends_the_run_before_anything_costly(
    backend: Backend, package: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UserError) as told:
        checked_parts({**PARAMETERS, **wrong})
    run = start(backend, package, {**PARAMETERS, **wrong})
    assert wait(backend, run, seconds=300) == "failed"
    pods = executors(backend, run)
    assert set(pods) == {"check-spec"}
    assert last_line(pods["check-spec"]) == f"pocketkube: {told.value}"


def test_a_recurring_run_starts_at_its_marks(
    backend: Backend, package: Path, interrupted: Interrupted
) -> None:
    name = f"pocketkube-test-{secrets.token_hex(4)}"
    with recurring(backend, package, name) as number:

        def runs() -> list[Any]:
            listed = backend.client.list_runs(page_size=100, sort_by="created_at desc").runs or []
            return [run for run in listed if run.recurring_run_id == number]

        def two() -> bool:
            return sum(run.state in {"SUCCEEDED", "COMPLETE"} for run in runs()) >= 2

        until(two, lambda: f"its runs are {[run.state for run in runs()]}", seconds=900)
        marks = [run.scheduled_at for run in runs()]
    assert len(set(marks)) == len(marks)
    assert {mark.second for mark in marks} == {0}


def test_a_search_finds_what_it_finds_on_one_machine(
    backend: Backend, packages: Path, tmp_path: Path, store: str
) -> None:
    run = start(backend, packages / "search_and_compress.yaml", SEARCH)
    assert wait(backend, run, seconds=1800) == "succeeded"
    run_here(spec_of(SEARCH, SearchForm), tmp_path)
    for name in (RATIOS_FILE, LITERT_FILE):
        here = (tmp_path / name).read_bytes()
        assert artifacts(SEARCH_NAME, run, name).count(here) == 1, name


def run_here(spec: Spec, output: Path) -> None:
    """The whole job on this machine, in a process whose threads nobody has counted out."""
    file = output / "spec.yaml"
    file.write_text(yaml.safe_dump(settings_document(spec)))
    subprocess.run(
        [sys.executable, "-m", "pocketkube", "run", str(file), "--output", str(output)],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key not in THREADS},
        check=True,
        capture_output=True,
    )


@contextmanager
def recurring(backend: Backend, package: Path, name: str) -> Iterator[str]:
    """A recurring run, by its id, for as long."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pocketkube", "submit", "--package", str(package), "--json"),
            *("--endpoint", backend.endpoint, "--name", name, "--every", CRON),
            *(f"--parameter={key}={json.dumps(value)}" for key, value in PARAMETERS.items()),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    number = json.loads(done.stdout)["recurring"][0]["recurring_run_id"]
    try:
        yield number
    finally:
        backend.client.delete_recurring_run(number)


def artifacts(pipeline: str, run: str, name: str) -> list[bytes]:
    """The content of all files of a name that the tasks of a pipeline's run gave out."""
    found = find_store()
    place = parse_uri(f"s3://{found.bucket}/{found.folder}/{pipeline}/{run}")
    server = connect(place)
    listed = server.client.list_objects(place.bucket, prefix=place.object(""), recursive=True)
    return [
        server.client.get_object(place.bucket, each.object_name).read()
        for each in listed
        if Path(str(each.object_name)).name == name
    ]
