"""What kubectl makes of manifests/."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.binaries import built

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = ("base", "overlays/standalone", "overlays/kubeflow", "overlays/demo")
# All that a user may apply.
APPLIED = (*OVERLAYS, "examples", "pipelines")

Document = dict[str, Any]


@cache
def rendered(place: str) -> list[Document]:
    """The objects of a folder of manifests/, as `kubectl kustomize` prints them."""
    program = shutil.which("kubectl") or built("kubectl")
    if program is None:
        pytest.skip("kubectl is missing: install it, or let `make cluster` build it")
    done = subprocess.run(
        [program, "kustomize", MANIFESTS / place], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # A warning is about what a later kustomize will refuse.
    assert not done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """Those of a kind."""
    return [each for each in documents if each["kind"] == kind]


def pod_templates(documents: list[Document]) -> dict[str, Document]:
    """The pods' templates in jobs, by the job's name and the pod's part in it."""
    found = {}
    for each in documents:
        name = each["metadata"]["name"]
        if each["kind"] == "Job":
            found[name] = each["spec"]["template"]
        if each["kind"] == "MPIJob":
            for role, replicas in each["spec"]["mpiReplicaSpecs"].items():
                found[f"{name} {role}"] = replicas["template"]
    return found


def containers(template: Document) -> list[Document]:
    """All containers of a pod."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]
