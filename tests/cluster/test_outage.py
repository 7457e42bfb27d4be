"""A second cluster whose API server goes away and comes back: the rest of it goes on."""

import json
from pathlib import Path
from typing import Any

from tests.cluster.addons import apply
from tests.cluster.archives import PAUSE
from tests.cluster.cluster import nodes
from tests.cluster.commands import run
from tests.cluster.kubectl import kubectl
from tests.cluster.outage import restart_api_server
from tests.cluster.progress import until


def mpijob(name: str) -> dict[str, Any]:
    """One that only waits: all of its pods can be started without an image of ours."""
    container = {"name": "waits", "image": PAUSE, "command": ["/pause"]}
    replica = {"replicas": 1, "template": {"spec": {"containers": [container]}}}
    return {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"mpiReplicaSpecs": {"Launcher": replica, "Worker": replica}},
    }


def pods_running(kubeconfig: Path, name: str) -> bool:
    selector = f"-ltraining.kubeflow.org/job-name={name}"
    found = json.loads(kubectl(kubeconfig, "get", "pods", selector, "-ojson"))["items"]
    return [pod["status"]["phase"] for pod in found] == ["Running", "Running"]


def test_an_mpijob_runs_after_the_api_server_was_away(folder: Path) -> None:
    up = run(folder, "up")
    assert up.returncode == 0, up.stderr
    kubeconfig, log = folder / "kubeconfig", nodes(folder)[0].machine.log("mpi-operator")
    # Longer than the operator tries to renew its lease: it ends, and has to be started again.
    restart_api_server(folder, away_s=8)
    assert "Leader election stopped" in log.read_text()
    apply(kubeconfig, mpijob("after"))
    until(lambda: pods_running(kubeconfig, "after"), "the MPIJob's pods", seconds=240, log=log)
