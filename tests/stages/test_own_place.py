"""Where on the object store a task keeps its checkpoints and hands folders on."""

import pytest

from pocketkube.spec import parse_settings
from pocketkube.spec.sections import Cluster
from pocketkube.stages.own_place import work_of

TEAM = "s3://mlpipeline/private/team/pocketkube"


@pytest.mark.parametrize(
    ("named", "namespaces", "place"),
    [
        ({}, None, "s3://mlpipeline/pocketkube"),
        ({}, TEAM, TEAM),
        ({"work": "s3://own/place"}, TEAM, "s3://own/place"),
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
