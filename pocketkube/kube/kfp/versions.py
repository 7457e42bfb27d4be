"""Pipelines on a back end and their versions: the same content is the same version."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.kfp.failures import BackendRefuses
from pocketkube.kube.kfp.package import Package

# KFP's API answers 409, and with pipelines that are Kubernetes objects also this.
_ALREADY_THERE = (409,)


@dataclass(frozen=True)
class Version:
    """A version of a pipeline on a back end.

    Attributes:
        pipeline: The pipeline's name.
        pipeline_id: Its id.
        name: The version's name.
        version_id: Its id.
        is_new: Whether it was just uploaded.
    """

    pipeline: str
    pipeline_id: str
    name: str
    version_id: str
    is_new: bool


def upload(backend: Backend, package: Package) -> Version:
    """Uploads a package, unless its content is there already.

    Raises:
        UserError: If the back end is away or refuses; nothing is left half done then, and the same call
            goes on.
    """
    pipeline_id = _pipeline_id(backend, package)
    known = _version_id(backend, package, pipeline_id)
    version_id = known or _uploaded(backend, package, pipeline_id)
    return Version(package.name, pipeline_id, package.version, version_id, is_new=known is None)


def listed(
    backend: Backend, what: str, path: str, key: str, query: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """What a list of the API holds, page by page."""
    token = ""
    while True:
        page = backend.ask(what, "GET", path, {"page_size": "100", "page_token": token, **query})
        yield from page.get(key) or []
        token = page.get("next_page_token") or ""
        if not token:
            return


def named(name: str) -> str:
    """KFP's filter for what people know by a name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
    return json.dumps({"predicates": [predicate]})


def _pipeline_id(backend: Backend, package: Package) -> str:
    """The pipeline's id; the pipeline is made where there is none."""
    found = _known_pipeline(backend, package.name)
    if found is not None:
        return found
    document = {"display_name": package.name, "name": package.name, "namespace": backend.namespace}
    try:
        made = backend.ask(f"pipeline {package.name}", "POST", "/pipelines", body=document)
    except BackendRefuses as error:
        # Another has made it meanwhile.
        found = _known_pipeline(backend, package.name) if error.status in _ALREADY_THERE else None
        if found is None:
            raise
        return found
    return str(made["pipeline_id"])


def _known_pipeline(backend: Backend, name: str) -> str | None:
    query = {"filter": named(name), "namespace": backend.namespace}
    for each in listed(backend, f"pipeline {name}", "/pipelines", "pipelines", query):
        return str(each["pipeline_id"])
    return None


def _version_id(backend: Backend, package: Package, pipeline_id: str) -> str | None:
    path, query = f"/pipelines/{pipeline_id}/versions", {"filter": named(package.version)}
    for each in listed(backend, f"versions of {package.name}", path, "pipeline_versions", query):
        return str(each["pipeline_version_id"])
    return None


def _uploaded(backend: Backend, package: Package, pipeline_id: str) -> str:
    query = {"name": package.version, "pipelineid": pipeline_id}
    try:
        made = backend.ask(
            f"version {package.version}", "POST", "/pipelines/upload_version", query, file=package.path
        )
    except BackendRefuses as error:
        found = _version_id(backend, package, pipeline_id) if error.status in _ALREADY_THERE else None
        if found is None:
            raise
        return found
    return str(made["pipeline_version_id"])
