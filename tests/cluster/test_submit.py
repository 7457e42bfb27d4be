"""`pocketkube submit` and `upload` on the back end of --kfp-endpoint, looked at by KFP's client."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl, kubernetes

from tests.cluster.backend import Backend
from tests.cluster.jobs import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def greet(name: str, ending: str) -> str:
    """Ends as it is told to."""
    import sys

    print("hello", name)
    if ending == "mistake":
        sys.exit("pocketkube: the name is wrong; give another.")
    if ending == "fault":
        raise ValueError("a fault of the program")
    return name


@dataclass(frozen=True)
class Submitted:
    """A pipeline of the test's own, and how the command is called for it."""

    backend: Backend
    package: Path
    pipeline: str

    def call(self, command: str, *arguments: object) -> subprocess.CompletedProcess:
        words = [command, *map(str, arguments), "--endpoint", self.backend.endpoint]
        return subprocess.run(
            [sys.executable, "-m", "pocketkube", *words],
            capture_output=True,
            text=True,
            timeout=900,
            env={**os.environ, "KUBECONFIG": "/dev/null"},
        )

    def done(self, command: str, *arguments: object) -> Any:
        """What a call that has to succeed prints as JSON."""
        done = self.call(command, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def versions(self) -> list[Any]:
        pipeline = self.backend.client.get_pipeline_id(self.pipeline)
        return self.backend.client.list_pipeline_versions(pipeline).pipeline_versions or []

    def recurring(self) -> list[Any]:
        every = self.backend.client.list_recurring_runs(page_size=100).recurring_runs or []
        return [each for each in every if each.display_name.startswith(self.pipeline)]


@pytest.fixture(scope="module")
def submitted(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Submitted]:
    name = f"pocketkube-submit-{secrets.token_hex(3)}"

    @dsl.pipeline(name=name)
    def pipeline(name: str = "somebody", ending: str = "happily", times: int = 1) -> None:
        first = greet(name=name, ending="well").set_display_name("Greet")
        second = greet(name=first.output, ending=ending).set_display_name("Greet again")
        for task in (first, second):
            kubernetes.set_security_context(
                task, run_as_user=1000, run_as_group=0, run_as_non_root=True
            )
            kubernetes.add_node_selector(task, "kubernetes.io/arch", "amd64")

    package = tmp_path_factory.mktemp("packages") / "package.yaml"
    compiler.Compiler().compile(pipeline, str(package))
    found = Submitted(backend, package, name)
    yield found
    for each in found.recurring():
        backend.client.delete_recurring_run(each.recurring_run_id)
    if backend.client.get_pipeline_id(name):
        for each in found.versions():
            backend.client.delete_pipeline_version(each.pipeline_id, each.pipeline_version_id)
        backend.client.delete_pipeline(backend.client.get_pipeline_id(name))


def test_a_run_is_followed_and_the_same_content_is_the_same_version(submitted: Submitted) -> None:
    arguments = ("--package", submitted.package, "--parameter", "times=3", "--name", "mine", "--follow")
    first = submitted.call("submit", *arguments)
    assert first.returncode == 0, first.stderr
    assert first.stderr.splitlines()[0] == "Greet: running"
    assert [line for line in first.stderr.splitlines() if "Greet again: done in" in line]
    assert "(new)" in first.stdout
    second = submitted.done("submit", *arguments)
    assert not second["version"]["is_new"]
    assert second["ending"]["state"] == "SUCCEEDED"
    (version,) = submitted.versions()
    assert version.pipeline_version_id == second["version"]["version_id"]
    run = submitted.backend.client.get_run(second["run"]["run_id"])
    assert run.state == "SUCCEEDED"
    assert (run.display_name, run.runtime_config.parameters) == ("mine", {"times": 3})
    assert run.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    assert second["run"]["link"] == f"{submitted.backend.endpoint}/#/runs/details/{run.run_id}"


@pytest.mark.parametrize(
    ("ending", "code", "cause"),
    [
        ("mistake", 2, "pocketkube: Greet again: the name is wrong; give another. ("),
        ("fault", 1, "pocketkube: Greet again: ValueError: a fault of the program ("),
    ],
)
def test_the_cause_of_a_failure_is_the_last_line(
    submitted: Submitted, ending: str, code: int, cause: str
) -> None:
    done = submitted.call(
        "submit", "--package", submitted.package, "--parameter", f"ending={ending}", "--follow"
    )
    assert done.returncode == code, done.stderr
    *lines, last = done.stderr.splitlines()
    assert last.startswith(cause)
    # The first task is that of the run before, where it was the same.
    assert lines[0] in ("Greet: cached", "Greet: running")
    assert "Greet again: failed" in lines[-1]


def test_a_recurring_run_is_made_once_and_replaced_where_it_changed(submitted: Submitted) -> None:
    def applied(cron: str, *more: str) -> tuple[str, Any]:
        name = f"{submitted.pipeline}-weekly"
        found = submitted.done(
            "submit", "--package", submitted.package, "--name", name, "--every", cron, *more
        )
        (kept,) = submitted.recurring()
        assert kept.recurring_run_id == found["recurring"][0]["recurring_run_id"]
        return found["recurring"][0]["change"], kept

    change, first = applied("0 0 3 1 1 *", "--parameter", "times=5")
    assert change == "made"
    assert first.trigger.cron_schedule.cron == "0 0 3 1 1 *"
    assert (first.max_concurrency, first.no_catchup, first.mode) == ("1", True, "ENABLE")
    assert first.runtime_config.parameters == {"times": 5}
    change, same = applied("0 0  3 1 1 *", "--parameter", "times=5")
    assert (change, same.recurring_run_id) == ("unchanged", first.recurring_run_id)
    change, other = applied("0 0 4 1 1 *", "--parameter", "times=5", "--catch-up")
    assert change == "replaced"
    assert (other.trigger.cron_schedule.cron, other.no_catchup or False) == ("0 0 4 1 1 *", False)


def test_five_fields_make_nothing(submitted: Submitted) -> None:
    name = f"{submitted.pipeline}-five"
    done = submitted.call(
        "submit", "--package", submitted.package, "--name", name, "--every", "0 3 * * 1"
    )
    assert done.returncode == 2
    assert "fires without end" in done.stderr
    assert name not in {each.display_name for each in submitted.recurring()}


def test_upload_is_done_once_however_often(submitted: Submitted, tmp_path: Path) -> None:
    schedule = {
        "name": f"{submitted.pipeline}-uploaded",
        "pipeline": submitted.pipeline,
        "cron": "0 30 2 1 1 *",
        "parameters": {"name": "all"},
        "enabled": False,
        "max_concurrency": 2,
    }
    schedules = tmp_path / "schedules.yaml"
    schedules.write_text(yaml.safe_dump({"schedules": [schedule]}))
    arguments = (submitted.package.parent, "--schedules", schedules)
    first, second = submitted.done("upload", *arguments), submitted.done("upload", *arguments)
    assert [each["recurring"][0]["change"] for each in (first, second)] == ["made", "unchanged"]
    assert len(submitted.versions()) == 1
    (kept,) = (each for each in submitted.recurring() if each.display_name == schedule["name"])
    assert (kept.mode, kept.status, kept.max_concurrency) == ("DISABLE", "DISABLED", "2")
    assert kept.runtime_config.parameters == {"name": "all"}
    schedules.write_text(yaml.safe_dump({"schedules": [{**schedule, "pipeline": "another"}]}))
    refused = submitted.call("upload", *arguments)
    assert refused.returncode == 2
    assert "no package of the pipeline another" in refused.stderr
