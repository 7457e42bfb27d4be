"""The real schemas of Kubernetes' and Kubeflow's objects, made strict."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

# Names the folder with the CRDs of Kubeflow's projects (*.crd.yaml).
VARIABLE = "CRD_SCHEMAS"


def strict(schema: Any) -> Any:
    """A schema that takes no field beside those it names; without that a misspelt one passes.

    Args:
        schema: As Kubernetes has it, in OpenAPI v3.
    """
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    closed = isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema
    if closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


def folder_of_crds() -> Path:
    """Where the CRDs are; skips the test where they are not."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"{VARIABLE} names no folder with the CRDs of Kubeflow (*.crd.yaml)")
    return Path(named)


@cache
def schema_of(kind: str, version: str) -> dict[str, Any]:
    """The strict schema of a custom resource, but for its metadata, of which a CRD says nothing.

    Args:
        kind: Its kind, as in MPIJob.
        version: The version of its API, as in v2beta1.
    """
    for path in sorted(folder_of_crds().glob("*.crd.yaml")):
        # The C loader is ten times as fast, and such files are half a megabyte.
        spec = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]
        if spec["names"]["kind"] == kind:
            [found] = [each for each in spec["versions"] if each["name"] == version]
            schema: dict[str, Any] = strict(found["schema"]["openAPIV3Schema"])
            return schema
    pytest.skip(f"{VARIABLE} has no CRD of {kind}")
