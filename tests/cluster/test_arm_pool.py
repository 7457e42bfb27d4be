"""Benchmarks on the arm64 nodes of a cluster, by a Job that is followed and brings its figures back."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml
from kubernetes import client

from pocketkube import __version__
from pocketkube.benchmarking.results import load_benchmark
from pocketkube.deploy import convert_litert
from pocketkube.errors import UserError
from pocketkube.files.layout import BENCHMARK_FILE, LITERT_FILE, SAMPLES_FILE, TABLE_FILE
from pocketkube.kube import Session, connect
from pocketkube.kube.benchmark_job import INDEX, Measurement, benchmark_job
from pocketkube.kube.objects import JOB, POD, create, find
from pocketkube.kube.pod_parts import Owner
from pocketkube.latency_table.network_files import write_networks
from pocketkube.latency_table.of_network import networks_to_time
from pocketkube.latency_table.table import read_table
from pocketkube.launch.node_pool import NodePool, NodePoolJob
from pocketkube.spec import settings_document
from pocketkube.spec.sections import Cluster
from pocketkube.spec.sections.cluster import BenchmarkPods, ObjectStore
from pocketkube.stages.call import StageCall
from pocketkube.stages.configs import BenchmarkLitertConfig, MeasureLatencyTableConfig
from pocketkube.stages.on_nodes import measure_on_nodes
from pocketkube.stages.own_place import own_place, send_inputs
from pocketkube.storage import parse_uri
from pocketkube.storage.objects import list_objects
from pocketkube.storage.server import connect as connect_store
from tests.cluster.store import find_store

IMAGE = os.environ.get("POCKETKUBE_BENCHMARK_IMAGE", f"pocketkube-benchmark:{__version__}-arm64")
# For nodes of any architecture.
INDEX_IMAGE = os.environ.get("POCKETKUBE_BENCHMARK_INDEX", f"pocketkube-benchmark:{__version__}")
ARM64 = "kubernetes.io/arch=arm64"
COMPONENT = """
import json, sys
from types import SimpleNamespace
from pocketkube.stages.component import run_component
told = json.loads(sys.argv[1])
inputs = {role: SimpleNamespace(path=path) for role, path in told["inputs"].items()}
run_component("benchmark_litert", {"cluster": told["cluster"]}, told["output"], inputs)
"""
PARTS = {"cortex-a53": "0xd03", "cortex-a76": "0xd0b", "neoverse-n1": "0xd0c", "neoverse-v1": "0xd40"}


@pytest.fixture(autouse=True)
def arm64(cluster: None) -> None:
    if not client.CoreV1Api().list_node(label_selector=ARM64).items:
        pytest.skip("the cluster has no arm64 node: make cluster ARM=1")


@pytest.fixture
def session(namespace: str) -> Session:
    return connect(namespace)


def net(width: int = 8) -> keras.Model:
    keras.utils.set_random_seed(0)
    numbers = keras.Input((6,))
    x = keras.layers.Dense(width, activation="relu")(numbers)
    x = keras.layers.Dense(width, activation="relu")(x)
    return keras.Model(numbers, keras.layers.Dense(3)(x))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What export_litert leaves of two small networks, as far as it is measured."""
    folder = tmp_path_factory.mktemp("exported")
    for role, width in (("baseline", 64), ("result", 8)):
        (folder / role).mkdir()
        (folder / role / LITERT_FILE).write_bytes(convert_litert(net(width), "float32"))
    x = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")
    np.savez(folder / "baseline" / SAMPLES_FILE, x=x, y=np.arange(12) % 3)
    return {role: str(folder / role) for role in ("baseline", "result")}


def pool(store: str, core: str, **asked: Any) -> Cluster:
    """Nodes of the pool, on which qemu plays a core; real ones do not look at that."""
    pods = {"arch": "arm64", "cpu": "1", "memory": "1Gi", "environment": {"QEMU_CPU": core}}
    return Cluster(
        benchmark_image=IMAGE,
        object_store=ObjectStore(endpoint=find_store().endpoint, work=f"{store}/work"),
        benchmark=BenchmarkPods(**{**pods, **asked}),
    )


def call(cluster: Cluster, exported: dict[str, str], output: Path) -> StageCall:
    config = BenchmarkLitertConfig.model_validate(
        {"benchmark": {"runs": 5, "threads": (1,), "max_seconds": 5.0, "warmup_runs": 1}}
    )
    config = config.model_copy(update={"cluster": cluster})
    return StageCall("benchmark_litert", config, exported, str(output))


def started(session: Session, cluster: Cluster, asked: StageCall) -> NodePoolJob:
    """The Job of a call, as `measure_on_nodes` begins it."""
    place = own_place(asked, cluster.object_store)
    send_inputs(asked, place)
    there = replace(asked, inputs=place.inputs(asked), output=f"{place.address}/outputs/{INDEX}")
    return NodePool(session, cluster, place.name, 1).start(there)


def left_behind(session: Session, store: str) -> list[str]:
    """Jobs and pods of the namespace, and objects of what tasks and Jobs hand each other."""
    found = [each["metadata"]["name"] for kind in (JOB, POD) for each in find(session, kind)]
    place = parse_uri(f"{store}/work")
    return found + [each.key for each in list_objects(connect_store(place), place.bucket, place.key)]


def test_the_pool_measures_and_says_what_it_is(
    session: Session,
    store: str,
    exported: dict[str, str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    cluster = pool(store, "cortex-a76", cpu_part="0xd0b", features=("asimddp", "fp16"))
    asked = call(cluster, exported, tmp_path / "measured")
    # A task that is ended before its Job, and another that takes its place.
    started(session, cluster, asked)
    measure_on_nodes(session, asked)
    lines = capfd.readouterr().err.splitlines()
    assert any(line.endswith("is there already, and followed") for line in lines), lines
    report = load_benchmark(tmp_path / "measured" / BENCHMARK_FILE)
    place = report.environment
    assert (place.machine, place.core_kinds[0].part) == ("aarch64", "0xd0b")
    assert place.cpu.endswith("Arm Cortex-A76")
    node = client.CoreV1Api().read_node(str(place.node))
    assert node.metadata.labels["kubernetes.io/arch"] == "arm64"
    assert any(line.startswith(f"[{place.node}] ") for line in lines)
    if os.uname().machine == "x86_64" and place.emulated_on:
        assert report.load.warnings[0].startswith("The machine was an emulated aarch64 (on x86_64)")
    assert report.files[1].latency_ms.p50 > 0
    assert left_behind(session, store) == []


def test_several_nodes_measure_and_are_merged(
    session: Session, store: str, exported: dict[str, str], tmp_path: Path
) -> None:
    nodes = [
        node
        for node in client.CoreV1Api().list_node().items
        if any(name.endswith(f"/{INDEX_IMAGE}") for image in node.status.images for name in image.names)
    ]
    if len(nodes) < 2:
        pytest.skip(f"no two nodes have {INDEX_IMAGE}")
    tainted = ({"key": "kubernetes.io/arch", "operator": "Exists"},)
    cluster = pool(store, "cortex-a76", arch="any", nodes=2, tolerations=tainted)
    cluster = cluster.model_copy(update={"benchmark_image": INDEX_IMAGE})
    measure_on_nodes(session, call(cluster, exported, tmp_path / "measured"))
    report = load_benchmark(tmp_path / "measured" / BENCHMARK_FILE)
    assert len({each.environment.node for each in report.nodes}) == 2
    low, high = report.latency_ratio_interval or (0, 0)
    for each in report.nodes:
        own_low, own_high = each.latency_ratio_interval or (0, 0)
        assert low <= own_low <= own_high <= high
    if len({each.environment.machine for each in report.nodes}) > 1:
        assert any("The nodes are of several kinds" in said for said in report.load.warnings)
    assert left_behind(session, store) == []


@pytest.mark.parametrize("core", ["cortex-a53", "neoverse-v1"])
def test_another_core_than_asked_for_is_refused_in_one_line(
    session: Session, store: str, exported: dict[str, str], tmp_path: Path, core: str
) -> None:
    cluster = pool(store, core, cpu_part="0xd0b", features=("sve",))
    with pytest.raises(UserError) as refused:
        measure_on_nodes(session, call(cluster, exported, tmp_path / "measured"))
    line = str(refused.value)
    assert line.startswith(
        "cluster.benchmark asks for arm64, CPU part 0xd0b (Arm Cortex-A76), sve, but "
    )
    assert f"({PARTS[core]})" in line
    assert ("without sve" in line) == (core != "neoverse-v1")
    assert "\n" not in line
    assert not (tmp_path / "measured").exists()
    # The Job stays for people to look at, and what was sent to it does not.
    assert [name for name in left_behind(session, store) if "/" in name] == []


def test_two_benchmarks_never_share_a_node_and_one_that_finds_none_is_given_up(
    session: Session, store: str, exported: dict[str, str], tmp_path: Path
) -> None:
    nodes = len(client.CoreV1Api().list_node(label_selector=ARM64).items)
    cluster = pool(store, "cortex-a53", nodes=nodes + 1, pending_seconds=5)
    with pytest.raises(UserError, match=r"Nothing was measured: pod .* waits for a node: ") as refused:
        measure_on_nodes(session, call(cluster, exported, tmp_path / "measured"))
    assert "didn't match pod anti-affinity rules" in str(refused.value)
    assert left_behind(session, store) == []


def test_it_is_guaranteed_and_goes_with_its_owner(session: Session, store: str) -> None:
    core_api = client.CoreV1Api()
    owner = core_api.create_namespaced_config_map(session.namespace, {"metadata": {"name": "owner"}})
    work = Measurement(
        name="owned",
        stage="benchmark_litert",
        argv=["--help"],
        owner=Owner("v1", "ConfigMap", "owner", owner.metadata.uid),
    )
    create(session, benchmark_job(work, pool(store, "cortex-a53")))
    for _ in range(60):
        if pods := find(session, POD):
            break
        time.sleep(0.5)
    assert pods[0]["status"]["qosClass"] == "Guaranteed"
    core_api.delete_namespaced_config_map("owner", session.namespace)
    for _ in range(120):
        if not find(session, JOB) and not find(session, POD):
            return
        time.sleep(0.5)
    raise AssertionError("the Job stays without its owner")


def test_a_task_that_is_ended_leaves_nothing(
    session: Session, store: str, exported: dict[str, str], tmp_path: Path
) -> None:
    document = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for context in document["contexts"]:
        context["context"]["namespace"] = session.namespace
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(document))
    told = {
        "inputs": exported,
        "output": str(tmp_path / "measured"),
        "cluster": settings_document(pool(store, "cortex-a76")),
    }
    task = subprocess.Popen(
        [sys.executable, "-c", COMPONENT, json.dumps(told)],
        # As in a task's container of Kubeflow Pipelines.
        env={**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "KFP_POD_NAME": "task"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert task.stderr is not None
        for line in task.stderr:
            if "is created" in line:
                break
        for _ in range(60):
            if find(session, POD):
                break
            time.sleep(0.5)
        task.terminate()
        lines = task.stderr.read().splitlines()
        assert task.wait(120) == 1
    finally:
        task.kill()
        task.wait()
    assert lines[-1].startswith("pocketkube: interrupted")
    assert "Traceback" not in "".join(lines)
    assert left_behind(session, store) == []


def test_an_image_that_does_not_exist_is_told(
    session: Session, store: str, exported: dict[str, str], tmp_path: Path
) -> None:
    cluster = pool(store, "cortex-a76", pending_seconds=5)
    cluster = cluster.model_copy(update={"benchmark_image": "pocketkube-benchmark:none"})
    with pytest.raises(UserError, match=r"Nothing was measured: .*cannot have its image"):
        measure_on_nodes(session, call(cluster, exported, tmp_path / "measured"))


def test_a_latency_table_is_measured_on_the_pool(session: Session, store: str, tmp_path: Path) -> None:
    networks = tmp_path / "networks"
    networks.mkdir()
    write_networks(networks_to_time(net(16), ("float32",)), networks)
    config = MeasureLatencyTableConfig(rounds=1, cluster=pool(store, "neoverse-n1", cpu_part="0xd0c"))
    asked = StageCall(
        "measure_latency_table", config, {"networks": str(networks)}, str(tmp_path / "measured")
    )
    measure_on_nodes(session, asked)
    table = read_table(tmp_path / "measured" / TABLE_FILE)
    assert table.device.cpu.endswith("Arm Neoverse-N1")
    assert table.device.machine == "aarch64"
    assert list(table.calls) == ["float32"]
    assert left_behind(session, store) == []
