"""A stage as a Job: restricted, on a read-only root, from bundle to bundle on the S3 server."""

from pathlib import Path

import numpy as np
import pytest
from kubernetes import client

from pocketkube.bundle import load_bundle
from pocketkube.errors import UserError
from pocketkube.storage import fetch_folder, parse_uri, send_folder
from tests.cluster.following import NotDone, wait_for_job
from tests.cluster.jobs import IMAGE, stage_job


def start(namespace: str, arch: str, stage: str, *arguments: str) -> str:
    job = stage_job(namespace, "compress-job.yaml", IMAGE, arch, stage, *arguments)
    client.BatchV1Api().create_namespaced_job(namespace, job)
    return "stage"


def test_a_stage_on_the_cluster_writes_the_bundle_it_writes_here(
    namespace: str, arch: str, store: str, steps: dict[str, Path], tmp_path: Path
) -> None:
    send_folder(steps["train_model"], parse_uri(f"{store}/dense"))
    job = start(
        namespace,
        arch,
        "prune_channels",
        *("--output", f"{store}/pruned"),
        *(f"--input={role}={store}/dense" for role in ("model", "teacher")),
    )
    wait_for_job(namespace, job, seconds=240)
    fetch_folder(parse_uri(f"{store}/pruned"), tmp_path / "pruned")
    ours, theirs = load_bundle(tmp_path / "pruned"), load_bundle(steps["1_prune_channels"])
    assert ours.facts.stages[-1].macs == theirs.facts.stages[-1].macs
    for there, here in zip(ours.model.get_weights(), theirs.model.get_weights(), strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-6)


def test_a_stage_without_its_input_fails_with_one_line_and_writes_nothing(
    namespace: str, arch: str, store: str, tmp_path: Path
) -> None:
    job = start(
        namespace,
        arch,
        "prune_channels",
        *("--output", f"{store}/pruned"),
        *(f"--input={role}={store}/dense" for role in ("model", "teacher")),
    )
    with pytest.raises(NotDone, match=rf"pocketkube: .*{store}/dense") as told:
        wait_for_job(namespace, job, seconds=240)
    assert "Traceback" not in str(told.value)
    with pytest.raises(UserError):
        fetch_folder(parse_uri(f"{store}/pruned"), tmp_path / "pruned")
