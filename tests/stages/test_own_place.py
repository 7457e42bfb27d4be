"""Where on the object store a task keeps its checkpoints and hands folders on."""

from pathlib import Path

import pytest

from pocketkube.spec import parse_settings
from pocketkube.spec.sections import Cluster, ObjectStore
from pocketkube.stages.call import StageCall, config_of
from pocketkube.stages.own_place import own_place, work_of

TEAM = "s3://mlpipeline/private/team/pocketkube"


@pytest.mark.parametrize(
    ("named", "namespaces", "place"),
    [
        ({}, None, "s3://mlpipeline/pocketkube"),
        ({}, TEAM, TEAM),
        ({"work": "s3://own/place"}, TEAM, "s3://own/place"),
        # As people write folders.
        ({"work": "s3://own/place/"}, TEAM, "s3://own/place"),
        ({}, f"{TEAM}/", TEAM),
    ],
)
def test_a_spec_that_names_no_place_has_its_namespaces(
    named: dict[str, str], namespaces: str | None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POCKETKUBE_WORK", raising=False)
    if namespaces:
        monkeypatch.setenv("POCKETKUBE_WORK", namespaces)
    cluster = parse_settings(Cluster, {"object_store": named}, "cluster")
    assert work_of(cluster.object_store) == place


def call(output: Path) -> StageCall:
    return StageCall(
        "train_model",
        config_of("train_model", {"model": "lenet", "dataset": {"builtin": "digits"}}),
        {},
        str(output),
    )


def test_a_task_that_writes_aside_finds_its_place_again_when_its_pod_is_replaced(
    tmp_path: Path,
) -> None:
    """As retraining does, whose steps are written into a temporary folder."""
    pods = [call(tmp_path / pod / "cache" / "train_model-1") for pod in ("first", "second")]
    names = [
        [own_place(pod, ObjectStore(), task).name for pod in pods] for task in ("/run-1", "/run-2")
    ]
    assert [len(set(of_task)) for of_task in names] == [1, 1]
    assert names[0] != names[1]
