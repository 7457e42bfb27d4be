"""The benchmark on an arm64 node, and what is said where there is none."""

import json
import os
from pathlib import Path

import pytest
from kubernetes import client

from pocketkube import __version__
from pocketkube.files.layout import BENCHMARK_FILE
from pocketkube.storage import fetch_folder, parse_uri, send_folder
from tests.cluster.binaries import HOST
from tests.cluster.cluster import is_named
from tests.cluster.following import NotDone, wait_for_job
from tests.cluster.jobs import stage_job

IMAGE = os.environ.get("POCKETKUBE_BENCHMARK_IMAGE", f"pocketkube-benchmark:{__version__}-arm64")
ARM64 = "kubernetes.io/arch=arm64"


def start(namespace: str, arch: str, store: str) -> str:
    job = stage_job(
        namespace,
        "benchmark-job.yaml",
        IMAGE,
        arch,
        "benchmark",
        *(f"--input={role}={store}/{role}" for role in ("baseline", "result")),
        f"--output={store}/measured",
    )
    pod = job["spec"]["template"]["spec"]
    # Which core qemu plays; a real one does not look at it.
    pod["containers"][0]["env"].append({"name": "QEMU_CPU", "value": "cortex-a76"})
    client.BatchV1Api().create_namespaced_job(namespace, job)
    return "stage"


def test_the_benchmark_runs_on_arm64(
    namespace: str, store: str, steps: dict[str, Path], tmp_path: Path
) -> None:
    if not client.CoreV1Api().list_node(label_selector=ARM64).items:
        pytest.skip("the cluster has no arm64 node: make cluster ARM=1")
    for role in ("baseline", "result"):
        send_folder(steps[role], parse_uri(f"{store}/{role}"))
    job = start(namespace, "arm64", store)
    wait_for_job(namespace, job, seconds=900)
    fetch_folder(parse_uri(f"{store}/measured"), tmp_path / "measured")
    there = json.loads((tmp_path / "measured" / BENCHMARK_FILE).read_text())
    here = json.loads((steps["benchmark"] / BENCHMARK_FILE).read_text())
    assert there["environment"]["machine"] == "aarch64"
    if is_named() and HOST != "arm64":
        assert there["environment"]["emulated_on"] == here["environment"]["machine"]
    for ours, theirs in zip(there["files"], here["files"], strict=True):
        assert ours["size_bytes"] == theirs["size_bytes"]
        # Two examples of 360 may fall to the other side by rounding.
        assert ours["score"] == pytest.approx(theirs["score"], abs=2 / 360)


def test_a_pod_that_no_node_can_take_is_reported_in_one_line(namespace: str) -> None:
    # A phone's 32-bit ARM: no cluster has such nodes.
    job = start(namespace, "arm", "s3://nowhere/at-all")
    with pytest.raises(NotDone) as told:
        wait_for_job(namespace, job, seconds=120)
    line = str(told.value)
    assert "\n" not in line
    assert "waits for a node" in line
    assert "node affinity/selector" in line
    pods = client.CoreV1Api().list_namespaced_pod(namespace).items
    assert [pod.status.phase for pod in pods] == ["Pending"]
