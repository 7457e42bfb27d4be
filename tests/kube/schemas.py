"""The real schemas of custom resources, with which documents are validated without a cluster."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

Document = dict[str, Any]


@cache
def crd_validator(file: str) -> Draft202012Validator:
    """Knows a CRD's schema of its first version, in which a misspelt field is an error.

    Args:
        file: Its name in the folder that CRD_SCHEMAS names; without one, the test is skipped.
    """
    crd = yaml.load((_folder() / file).read_text(), yaml.CSafeLoader)
    schema: Document = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    close(schema)
    # Kubernetes itself knows what metadata may hold.
    schema["properties"]["metadata"] = {"type": "object"}
    return Draft202012Validator(schema)


@cache
def katib_validator(name: str) -> Draft202012Validator:
    """Knows a schema of Katib's API, in which a misspelt field is an error; its CRDs check nothing.

    Args:
        name: As Katib's OpenAPI document has it: "v1beta1.Experiment".
    """
    found = json.loads((_folder() / "katib.v1beta1.openapi.json").read_text())["components"]
    close(found)
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": found})


def _folder() -> Path:
    folder = os.environ.get("CRD_SCHEMAS")
    if not folder:
        pytest.skip("CRD_SCHEMAS names no folder with the schemas of MPIJob, TrainJob, KFP and Katib")
    return Path(folder)


def refuse_invalid(document: Document, validator: Draft202012Validator) -> None:
    """Fails where a document is not what its schema says."""
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    assert not errors, errors


def close(schema: Any) -> None:
    """Makes every field an error that a schema does not name; without that a misspelt one passes."""
    if isinstance(schema, list):
        for each in schema:
            close(each)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
            schema["additionalProperties"] = False
        for each in schema.values():
            close(each)
