"""The small job that the cluster's tests run, and the objects that run its stages."""

from pathlib import Path
from string import Template
from typing import Any

import yaml
from kubernetes import client

from tests.cluster.store import find_store

OBJECTS = Path(__file__).parent / "objects"
SPEC = {
    "model": "lenet",
    "dataset": "digits",
    "target": {"speedup": 2},
    "training": {"epochs": 2, "batch_size": 64},
    "stages": ["prune_channels", "quantize_int8"],
    "benchmark": {"runs": 10, "threads": [1]},
}


def create(namespace: str, file: str, spec: dict[str, Any], **values: str) -> dict[str, Any]:
    """An object of objects/, and the ConfigMap with its spec, which is created.

    Args:
        namespace: Where it goes.
        file: Its name in objects/.
        spec: The job's spec.
        values: What stands for $words in it; "name" names both, and $endpoint is the cluster's store.
    """
    values = {"endpoint": find_store().endpoint, **values}
    data = {"spec.yaml": yaml.safe_dump(spec)}
    client.CoreV1Api().create_namespaced_config_map(
        namespace, {"metadata": {"name": values["name"]}, "data": data}
    )
    found: dict[str, Any] = yaml.safe_load(Template((OBJECTS / file).read_text()).substitute(values))
    return found
