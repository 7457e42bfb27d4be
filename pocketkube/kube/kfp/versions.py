"""Pipelines on a back end and their versions: the same content is the same version."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.kfp.failures import BackendRefuses
from pocketkube.kube.kfp.package import Package


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
    sent = {"name": package.version, "pipelineid": pipeline_id}
    what = f"version {package.version}"
    version_id, is_new = id_of_named(
        backend,
        f"versions of {package.name}",
        f"/pipelines/{pipeline_id}/versions",
        ("pipeline_versions", "pipeline_version_id"),
        {"filter": named(package.version)},
        lambda: backend.ask(what, "POST", "/pipelines/upload_version", sent, file=package.path),
    )
    return Version(package.name, pipeline_id, package.version, version_id, is_new)


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


def id_of_named(
    backend: Backend,
    what: str,
    path: str,
    keys: tuple[str, str],
    query: Mapping[str, str],
    make: Callable[[], dict[str, Any]],
) -> tuple[str, bool]:
    """The id of what people know by a name; it is made where there is none.

    Args:
        backend: The back end.
        what: What it is, for messages.
        path: The list that it is in.
        keys: What the list is called in an answer, and the id of each in it.
        query: What selects it.
        make: Makes it, and gives the answer.

    Returns:
        The id, and whether it was made.

    Raises:
        UserError: If the back end is away or refuses.
    """

    def known() -> str | None:
        return next((str(each[keys[1]]) for each in listed(backend, what, path, keys[0], query)), None)

    found = known()
    if found is not None:
        return found, False
    try:
        return str(make()[keys[1]]), True
    except BackendRefuses as error:
        # Another has made it meanwhile.
        found = known() if error.status == 409 else None
        if found is None:
            raise
        return found, False


def _pipeline_id(backend: Backend, package: Package) -> str:
    what, path = f"pipeline {package.name}", "/pipelines"
    document = {"display_name": package.name, "name": package.name, "namespace": backend.namespace}
    return id_of_named(
        backend,
        what,
        path,
        ("pipelines", "pipeline_id"),
        {"filter": named(package.name), "namespace": backend.namespace},
        lambda: backend.ask(what, "POST", path, body=document),
    )[0]
