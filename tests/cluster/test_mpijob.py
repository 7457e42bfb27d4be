"""Training shared by the workers of an MPIJob."""

from pathlib import Path

import numpy as np
import pytest
from kubernetes import client

from pocketkube.bundle import load_bundle
from pocketkube.storage import fetch_folder, parse_uri
from tests.cluster.following import wait_for_mpijob
from tests.cluster.jobs import SPEC, create
from tests.cluster.test_stage_job import IMAGE


def test_two_workers_write_the_bundle_that_one_process_writes_here(
    namespace: str, arch: str, store: str, steps: dict[str, Path], tmp_path: Path
) -> None:
    job = create(
        namespace,
        "train-mpijob.yaml",
        SPEC,
        name="train",
        image=IMAGE,
        arch=arch,
        output=f"{store}/trained",
    )
    client.CustomObjectsApi().create_namespaced_custom_object(
        "kubeflow.org", "v2beta1", namespace, "mpijobs", job
    )
    wait_for_mpijob(namespace, "train", seconds=300)
    fetch_folder(parse_uri(f"{store}/trained"), tmp_path / "trained")
    ours, theirs = load_bundle(tmp_path / "trained"), load_bundle(steps["train_model"])
    # Two that never met would each have trained all of it.
    assert ours.facts.stages[0].history.workers == 2
    for there, here in zip(ours.model.get_weights(), theirs.model.get_weights(), strict=True):
        # As between one process and two on one machine: sums are added in another order.
        np.testing.assert_allclose(there, here, atol=2e-3)
    assert ours.facts.stages[0].history.loss == pytest.approx(
        theirs.facts.stages[0].history.loss, rel=1e-3
    )
