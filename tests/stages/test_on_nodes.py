"""Where a component measures, and what it does with what cluster.benchmark asks for."""

import platform
from pathlib import Path

import pytest

from pocketkube.benchmarking.required_node import arch_of
from pocketkube.errors import UserError
from pocketkube.kube.failures import Refused
from pocketkube.kube.session import Session
from pocketkube.kube.transport import ApiServer
from pocketkube.spec import parse_spec, settings_document
from pocketkube.stages import on_nodes
from pocketkube.stages.call import StageCall, config_of
from pocketkube.stages.configs import BenchmarkLitertConfig, OnNodesConfig
from pocketkube.stages.on_nodes import asks_for_others, refuse_without_store
from pocketkube.stages.own_place import own_place
from pocketkube.stages.plan import step_named

OWN = arch_of(platform.machine())
OTHER = "arm64" if OWN == "amd64" else "amd64"


def config(**benchmark: object) -> OnNodesConfig:
    found = config_of("benchmark_litert", {"cluster": {"benchmark": benchmark}})
    assert isinstance(found, OnNodesConfig)
    return found


@pytest.mark.parametrize(
    ("asked", "elsewhere"),
    [
        ({}, False),
        ({"cpu_part": "0xd0b"}, False),
        ({"node_selector": {"pool": "phones"}}, True),
        ({"arch": OWN}, False),
        ({"arch": OWN, "node_selector": {"pool": "phones"}}, True),
        ({"arch": OTHER}, True),
        ({"nodes": 2}, True),
    ],
)
def test_a_job_measures_where_the_task_cannot(asked: dict, elsewhere: bool) -> None:
    assert asks_for_others(config(**asked)) is elsewhere


def test_one_machine_that_runs_a_whole_job_measures_what_it_is() -> None:
    spec = parse_spec(
        {
            "model": "lenet",
            "dataset": "digits",
            "target": {"speedup": 2},
            "stages": ["prune_channels"],
            "cluster": {"benchmark": {"arch": OTHER, "nodes": 3}},
        }
    )
    step = step_named(spec, "benchmark")
    assert isinstance(step.config, BenchmarkLitertConfig)
    assert not asks_for_others(step.config)
    assert "cluster" not in settings_document(step.config)
    assert not asks_for_others(config(arch=OTHER).anywhere())


def test_keys_that_pods_would_lack_are_missed_before_anything_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "set")
    monkeypatch.setattr(on_nodes, "refuse_unwritable", lambda place: None)
    session = Session(ApiServer("https://cluster", None), "team")
    cluster = config().cluster
    monkeypatch.setattr(on_nodes, "get", lambda *asked: {"data": {}})
    refuse_without_store(session, cluster)

    def refuses(*asked: object) -> None:
        raise Refused("Secret keys", 403, "Forbidden", "not yours to see")

    monkeypatch.setattr(on_nodes, "get", refuses)
    refuse_without_store(session, cluster)
    monkeypatch.setattr(on_nodes, "get", lambda *asked: None)
    with pytest.raises(UserError, match="no Secret mlpipeline-minio-artifact in the namespace team"):
        refuse_without_store(session, cluster)


def test_a_task_that_begins_again_finds_its_job_and_another_does_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.tflite").write_bytes(name.encode())
    inputs = {"baseline": str(tmp_path / "a"), "result": str(tmp_path / "b")}

    def name(output: str, changed: OnNodesConfig) -> str:
        return own_place(
            StageCall("benchmark_litert", changed, inputs, output), changed.cluster.object_store
        ).name

    first = name("/run-1/figures", config(arch=OTHER))
    assert name("/run-1/figures", config(arch=OTHER)) == first
    assert len(first) <= 63
    assert first.replace("-", "").isalnum()
    others = {name("/run-2/figures", config(arch=OTHER)), name("/run-1/figures", config(nodes=2))}
    (tmp_path / "b/model.tflite").write_bytes(b"changed")
    others.add(name("/run-1/figures", config(arch=OTHER)))
    assert len(others | {first}) == 4
