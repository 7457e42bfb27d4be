"""The small job that the cluster's tests run, and the objects of manifests/examples that run it."""

import os
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from pocketkube import __version__
from tests.cluster.store import find_store

EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"
# As the cluster's nodes know it.
IMAGE = os.environ.get("POCKETKUBE_IMAGE", f"pocketkube:{__version__}")
SPEC: dict[str, Any] = yaml.safe_load((EXAMPLES / "spec.yaml").read_text())


def stage_job(
    namespace: str, file: str, image: str, arch: str, stage: str, *arguments: str
) -> dict[str, Any]:
    """A Job that runs one stage, after what its pod refers to has been created.

    Args:
        namespace: Where it goes.
        file: The example's name; of several containers the last one is taken.
        image: What the cluster calls the image.
        arch: The architecture of the nodes.
        stage: The step of `SPEC`, or a stage of which it has one.
        arguments: Of `pocketkube stage`, behind its spec.
    """
    core = client.CoreV1Api()
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "pocketkube-worker"}})
    store = {"endpoint": find_store().endpoint, "region": "us-east-1", "work": "s3://none/none"}
    spec = {"spec.yaml": yaml.safe_dump(SPEC)}
    for name, data in (("pocketkube-object-store", store), ("pocketkube-spec", spec)):
        core.create_namespaced_config_map(namespace, {"metadata": {"name": name}, "data": data})
    job: dict[str, Any] = yaml.safe_load((EXAMPLES / file).read_text())
    job["metadata"]["name"] = "stage"
    job["spec"] |= {"suspend": False, "backoffLimit": 0}
    pod = job["spec"]["template"]["spec"]
    pod.pop("initContainers", None)
    pod["nodeSelector"] = {"kubernetes.io/arch": arch}
    [container] = pod["containers"]
    container["image"], container["args"] = image, list(arguments)
    container["command"][4] = stage
    # Several such tests may share a small cluster.
    container["resources"] = {}
    return job
