"""The one line of a log that tells why a task failed."""

import json
from pathlib import Path
from typing import cast

import pytest

from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.kfp.cause import Told, cause_in_log, cause_of
from pocketkube.kube.kfp.progress import workflow_of

# As a launcher of KFP 2.17 writes it around what the component prints.
LOG = """\
I1127 01:17:15.465462      18 main.go:67] Setting log level to: '1'
[KFP Executor 2026-11-27 01:17:15,558 INFO]: Got executor_input:
{
    "outputs": {
        "parameters": {}
    }
}
%s
E1127 01:17:15.568003      18 launcher_v2.go:449] Component failed to execute: exit status 1
I1127 01:17:15.595648      18 launcher_v2.go:206] publish success.
F1127 01:17:15.612964      18 main.go:59] failed to execute component: exit status 1
"""
DRIVER = """\
I1127 01:17:15.465462      18 main.go:67] Setting log level to: '1'
{
  "outputFile": "/minio/a/output_metadata.json"
}
F1127 01:31:40.612964      18 main.go:81] KFP driver: driver.Container() failed: bad quantity
"""


@pytest.mark.parametrize(
    ("task", "remedy"),
    [
        ("export-litert-2", "give it more by cluster.tasks: {export_litert: {memory: …}}, in a form"),
        ("fine-tune-model", "give it more by cluster.tasks: {fine_tune_model: {memory: …}}, in a form"),
        ("retrain-model", "give it more by cluster.tasks: {train_model: {memory: …}}, in a form below"),
        ("decide-retraining", "no setting gives it more: let the data that it looks at be smaller"),
    ],
)
def test_a_task_that_was_killed_for_memory_is_told_by_what_name_it_gets_more(
    task: str, remedy: str
) -> None:
    manifest = json.loads((Path(__file__).parent / "workflow_failed.json").read_text())
    text = (
        json.dumps(manifest)
        .replace("greet-2", task)
        .replace("main: Error (exit code 1)", "main: OOMKilled (exit code 137)")
    )
    cause = cause_of(cast(Backend, None), "run", workflow_of(text), {task: "title"})
    assert str(cause).startswith(f"title: was killed for memory (OOMKilled); {remedy}")


def test_a_users_mistake() -> None:
    found = cause_in_log(
        LOG % "stage=train step=3\npocketkube: There is no model file; look at s3://a/b.\n"
    )
    assert found == Told("There is no model file; look at s3://a/b.", is_users=True)


def test_a_traceback() -> None:
    lines = 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: no such thing\n'
    assert cause_in_log(LOG % lines) == Told("ValueError: no such thing", is_users=False)


def test_a_driver_says_it_itself() -> None:
    found = cause_in_log(DRIVER)
    assert found is not None
    assert not found.is_users
    assert found.text.startswith("KFP driver: driver.Container")
    assert found.text.endswith("bad quantity")


@pytest.mark.parametrize("text", ["", "\n", "{}", "I1127 01:17:15.465462      18 main.go:67] hello\n"])
def test_nothing_tells(text: str) -> None:
    assert cause_in_log(text) is None


@pytest.mark.parametrize(
    "line",
    [
        "Memory ran out (OOM when allocating tensor): use a smaller network",
        "No space left on the disk while writing /a: free some",
        "a fault of PocketKube, or of what it stands on: KeyError: 'lost'. Its traceback is in /tmp/a",
    ],
)
def test_a_line_that_tells_of_nobodys_mistake(line: str) -> None:
    assert cause_in_log(LOG % f"pocketkube: {line}\n") == Told(line, is_users=False)
