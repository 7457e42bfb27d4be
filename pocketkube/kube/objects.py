"""Objects of any kind, as Kubernetes writes them: created, read, changed and deleted, safely twice."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from pocketkube.kube.failures import ApiServerAway, NotInTime, Refused
from pocketkube.kube.session import Session
from pocketkube.kube.transport import ApiServer, Document, Request, ask, ask_once, patiently

# Who our fields belong to, in an object's managedFields.
FIELD_MANAGER = "pocketkube"
# Tells an object that this very call created, although no answer came, from one that was there.
CREATION = "pocketkube.io/creation"
_PAGE = 500


@dataclass(frozen=True)
class Kind:
    """A kind of objects.

    Attributes:
        api_version: Its group and version: batch/v1.
        name: Job.
    """

    api_version: str
    name: str


POD = Kind("v1", "Pod")
EVENT = Kind("v1", "Event")
CONFIG_MAP = Kind("v1", "ConfigMap")
SECRET = Kind("v1", "Secret")
JOB = Kind("batch/v1", "Job")


@dataclass(frozen=True)
class Created:
    """An object that is there now.

    Attributes:
        document: The object.
        is_new: False if it was there before.
    """

    document: Document
    is_new: bool


@dataclass(frozen=True)
class Listed:
    """Objects at one moment.

    Attributes:
        documents: The objects.
        resource_version: The moment; a watch can go on from it.
    """

    documents: tuple[Document, ...]
    resource_version: str


def create(session: Session, document: Document) -> Created:
    """Creates an object, or finds the one that has its name.

    Args:
        session: The cluster, and the namespace.
        document: The object, with apiVersion, kind and metadata.name.

    Raises:
        Refused: If the API server says no: rights, quota, validation, a kind that it does not know.
        ApiServerAway: If it stays away. The object may have been created then.
    """
    kind, name = kind_of(document), document["metadata"]["name"]
    what = described(session, kind, name)
    path = path_of(session, kind)
    token = secrets.token_hex(8)
    metadata = document["metadata"]
    annotations = {**metadata.get("annotations", {}), CREATION: token}
    body = {**document, "metadata": {**metadata, "annotations": annotations}}
    request = Request(what, "POST", path, (("fieldManager", FIELD_MANAGER),), body)

    def attempt() -> Created:
        try:
            return Created(ask_once(session.server, request), is_new=True)
        except Refused as refused:
            if refused.reason != "AlreadyExists":
                raise
        try:
            found = ask_once(session.server, Request(what, "GET", f"{path}/{name}"))
        except Refused as refused:
            if refused.status != 404:
                raise
            raise ApiServerAway(f"{what} was there and has gone.") from refused
        if "deletionTimestamp" in found["metadata"]:
            raise ApiServerAway(f"{what} was there and is still being deleted.")
        return Created(found, found["metadata"].get("annotations", {}).get(CREATION) == token)

    return patiently(session.server, attempt)


def question(session: Session, document: Document) -> Document:
    """Asks what is answered and not kept, such as a SelfSubjectAccessReview.

    Raises:
        Refused: If the API server says no.
        ApiServerAway: If it stays away.
    """
    kind = kind_of(document)
    return ask(session.server, Request(kind.name, "POST", path_of(session, kind), body=document))


def get(session: Session, kind: Kind, name: str) -> Document | None:
    """An object; None where there is none of that name.

    Raises:
        Refused: If the API server says no; of a kind that it does not know, too.
        ApiServerAway: If it stays away.
    """
    request = Request(described(session, kind, name), "GET", f"{path_of(session, kind)}/{name}")
    try:
        return ask(session.server, request)
    except Refused as refused:
        if refused.status == 404:
            return None
        raise


def find(session: Session, kind: Kind, labels: str = "", fields: str = "") -> tuple[Document, ...]:
    """The objects of a kind in the namespace.

    Args:
        session: The cluster, and the namespace.
        kind: Their kind.
        labels: A selector of labels, as in app=train,role!=worker; all if empty.
        fields: A selector of fields, as in metadata.name=train.

    Raises:
        Refused: If the API server says no.
        ApiServerAway: If it stays away.
    """
    return listed(session, kind, labels, fields).documents


def listed(session: Session, kind: Kind, labels: str = "", fields: str = "") -> Listed:
    """As `find`, with the moment that the list is of."""

    def all_pages() -> Listed:
        documents: list[Document] = []
        following = ""
        while True:
            query = (*selection(labels, fields), ("limit", str(_PAGE)))
            if following:
                query += (("continue", following),)
            request = Request(described(session, kind), "GET", path_of(session, kind), query)
            page = ask_once(session.server, request)
            # A list's items do not say what they are.
            documents += [
                {"apiVersion": kind.api_version, "kind": kind.name, **item} for item in page["items"]
            ]
            following = page["metadata"].get("continue", "")
            if not following:
                return Listed(tuple(documents), page["metadata"]["resourceVersion"])

    def until_whole() -> Listed:
        try:
            return all_pages()
        except Refused as refused:
            if refused.status != 410:
                raise
            # The list grew too old between two of its pages.
            raise ApiServerAway(str(refused)) from refused

    return patiently(session.server, until_whole)


def apply(session: Session, document: Document) -> Document:
    """Creates an object, or gives an object of its name the fields that the document has.

    Server-side apply: fields that an earlier document had, and this one lacks, are removed.

    Raises:
        Refused: If the API server says no.
        ApiServerAway: If it stays away.
    """
    kind, name = kind_of(document), document["metadata"]["name"]
    request = Request(
        described(session, kind, name),
        "PATCH",
        f"{path_of(session, kind)}/{name}",
        (("fieldManager", FIELD_MANAGER), ("force", "true")),
        document,
        # JSON is YAML.
        "application/apply-patch+yaml",
    )
    return ask(session.server, request)


def patch(session: Session, kind: Kind, name: str, changes: Document) -> Document:
    """Sets some fields of an object; a field of value None is removed, a list replaced (merge patch).

    Raises:
        Refused: If the API server says no; if there is no such object, too.
        ApiServerAway: If it stays away.
    """
    request = Request(
        described(session, kind, name),
        "PATCH",
        f"{path_of(session, kind)}/{name}",
        (("fieldManager", FIELD_MANAGER),),
        changes,
        "application/merge-patch+json",
    )
    return ask(session.server, request)


def update(session: Session, kind: Kind, name: str, change: Callable[[Document], Document]) -> Document:
    """Changes an object from what it is, and again from what it has become if another was faster.

    Args:
        session: The cluster, and the namespace.
        kind: The object's kind.
        name: Its name.
        change: What it is to be, from what it is; may be called several times.

    Raises:
        Refused: If the API server says no; if there is no such object, or it never stands still, too.
        ApiServerAway: If it stays away.
    """
    what, path = described(session, kind, name), f"{path_of(session, kind)}/{name}"

    def attempt() -> Document:
        found = ask(session.server, Request(what, "GET", path))
        query = (("fieldManager", FIELD_MANAGER),)
        return ask(session.server, Request(what, "PUT", path, query, change(found)))

    def is_conflict(error: BaseException) -> bool:
        return isinstance(error, Refused) and error.reason == "Conflict"

    return Retrying(
        retry=retry_if_exception(is_conflict),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        stop=stop_after_attempt(15),
        reraise=True,
    )(attempt)


def delete(
    session: Session,
    kind: Kind,
    name: str,
    propagation: Literal["Foreground", "Background"] = "Foreground",
    seconds: float = 120,
) -> bool:
    """Deletes an object, and waits until it is gone.

    Args:
        session: The cluster, and the namespace.
        kind: The object's kind.
        name: Its name.
        propagation: Foreground: what it owns goes first, so that all of it is gone in the end.
            Background: what it owns goes later.
        seconds: How long to wait; with 0 it is only marked for deletion.

    Returns:
        False if there was no such object.

    Raises:
        NotInTime: If it is still there then.
        Refused: If the API server says no.
        ApiServerAway: If it stays away.
    """
    found = get(session, kind, name)
    if found is None:
        return False
    what, uid = described(session, kind, name), found["metadata"]["uid"]
    options = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
    request = Request(what, "DELETE", f"{path_of(session, kind)}/{name}", body=options)
    try:
        ask(session.server, request)
    except Refused as refused:
        # Another object of that name, or none: this one is gone.
        if refused.status not in (404, 409):
            raise
    ends = time.monotonic() + seconds
    pause_s = 0.1
    while seconds and (found := get(session, kind, name)) and found["metadata"]["uid"] == uid:
        if time.monotonic() > ends:
            holds = ", ".join(found["metadata"].get("finalizers", ())) or "its pods' grace period"
            raise NotInTime(f"{what} is not gone after {seconds:g} s, held by {holds}.")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 2)
    return True


def kind_of(document: Document) -> Kind:
    """The kind of an object, as it says itself."""
    return Kind(document["apiVersion"], document["kind"])


def name_of(document: Document) -> str:
    """The name of an object."""
    return document["metadata"]["name"]


def met_condition(document: Document, *types: str) -> Document | None:
    """The first true condition of an object that is of one of the types; None if there is none."""
    for condition in document.get("status", {}).get("conditions", ()):
        if condition["type"] in types and condition["status"] == "True":
            return condition
    return None


def path_of(session: Session, kind: Kind) -> str:
    """Where the API server has the objects of a kind, in the session's namespace.

    Raises:
        Refused: If it does not know the kind.
        ApiServerAway: If it stays away.
    """
    resource = _resource(session.server, kind)
    place = f"/namespaces/{session.namespace}" if resource.is_namespaced else ""
    return f"{_group(kind)}{place}/{resource.plural}"


def selection(labels: str, fields: str) -> tuple[tuple[str, str], ...]:
    """The parameters that select objects."""
    chosen = (("labelSelector", labels), ("fieldSelector", fields))
    return tuple((key, value) for key, value in chosen if value)


def described(session: Session, kind: Kind, name: str = "") -> str:
    """What messages call an object, or all of a kind.

    Raises:
        Refused: If the API server does not know the kind.
        ApiServerAway: If it stays away.
    """
    place = (
        f" in namespace {session.namespace}" if _resource(session.server, kind).is_namespaced else ""
    )
    return f"{kind.name} {name}".rstrip() + place


@dataclass(frozen=True)
class _Resource:
    plural: str
    is_namespaced: bool


@lru_cache(maxsize=256)
def _resource(server: ApiServer, kind: Kind) -> _Resource:
    unknown = Refused(
        f"{kind.name} of {kind.api_version}",
        404,
        "NotFound",
        "the server could not find the requested resource",
    )
    try:
        found = ask(server, Request(f"the kinds of {kind.api_version}", "GET", _group(kind)))
    except Refused as refused:
        if refused.status != 404:
            raise
        raise unknown from None
    for resource in found["resources"]:
        if resource["kind"] == kind.name and "/" not in resource["name"]:
            return _Resource(resource["name"], resource["namespaced"])
    raise unknown


def _group(kind: Kind) -> str:
    return f"/apis/{kind.api_version}" if "/" in kind.api_version else f"/api/{kind.api_version}"
