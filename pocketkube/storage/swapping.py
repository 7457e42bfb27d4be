"""One small file or object that is replaced as a whole, only by who knows what it replaces."""

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from minio.error import S3Error

from pocketkube.errors import UserError
from pocketkube.files.held import held
from pocketkube.files.whole import replaced_file
from pocketkube.storage.failures import ErrorPage, is_missing, plain_failures
from pocketkube.storage.location import LocalLocation, Location, S3Location
from pocketkube.storage.server import Server, connect

MAX_BYTES = 1 << 20
# What a server answers whose object is not what the condition says, or is being written by another.
_UNMET = (409, 412)


@dataclass(frozen=True)
class Stored:
    """What stood there when it was read.

    Attributes:
        content: The content.
        tag: Tells it from what may stand there later: the server's etag, or a digest.
    """

    content: bytes
    tag: str


class Changed(UserError):
    """Somebody else has replaced it meanwhile."""


def read_stored(place: Location) -> Stored | None:
    """Reads a small file or object; None if it is not there.

    Raises:
        UserError: If it is larger than a mebibyte, or the server is away or refuses.
    """
    if isinstance(place, LocalLocation):
        return _read_file(place.path)
    assert isinstance(place, S3Location)
    server = connect(place.address)
    with plain_failures(server.endpoint, place.address):
        return _read_object(server, place)


def replace_stored(place: Location, content: bytes, seen: Stored | None) -> None:
    """Replaces it, if it still is what was seen: of two that do so at once, one succeeds.

    On a server by conditional writes (If-Match, If-None-Match). Where the server does not know them,
    which is tried out beside the object, it is read right before and right after: what is written in
    the moment between is not noticed.

    Args:
        place: A file of this machine, or an object.
        content: The new content.
        seen: What `read_stored` gave.

    Raises:
        Changed: If something else stands there.
        UserError: If it cannot be written, or the server is away or refuses.
    """
    if isinstance(place, LocalLocation):
        _replace_file(place.path, content, seen)
        return
    assert isinstance(place, S3Location)
    server = connect(place.address)
    with plain_failures(server.endpoint, place.address):
        if _knows_conditions(server, place):
            if not _put(server, place.address.key, place, content, _condition(seen)):
                _refuse_unless_ours(server, place, content)
            return
        if _read_object(server, place) != seen:
            raise _changed(place)
        _put(server, place.address.key, place, content, {})
        _refuse_unless_ours(server, place, content)


def _changed(place: Location) -> Changed:
    return Changed(f"{place} was replaced by somebody else meanwhile; look at it and try again.")


def _read_file(path: Path) -> Stored | None:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    return Stored(content, hashlib.sha256(content).hexdigest())


def _replace_file(path: Path, content: bytes, seen: Stored | None) -> None:
    with _locked(path):
        if _read_file(path) != seen:
            raise _changed(LocalLocation(path))
        with replaced_file(path) as aside:
            aside.write_bytes(content)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps others away; a process that dies lets go."""
    try:
        with held(path.with_name(f".{path.name}.lock"), lambda holder: None, required=True):
            yield
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.") from error


def _read_object(server: Server, place: S3Location) -> Stored | None:
    try:
        response = server.client.get_object(place.address.bucket, place.address.key)
    except S3Error as error:
        if is_missing(error):
            return None
        raise
    with response:
        content = response.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UserError(f"{place} is larger than the {MAX_BYTES} bytes that it may have.")
    return Stored(content, response.headers.get("etag", "").strip('"'))


def _condition(seen: Stored | None) -> dict[str, str]:
    return {"If-None-Match": "*"} if seen is None else {"If-Match": f'"{seen.tag}"'}


def _refuse_unless_ours(server: Server, place: S3Location, content: bytes) -> None:
    """An answer that was lost on its way makes the client ask again, and find its own object."""
    there = _read_object(server, place)
    if there is None or there.content != content:
        raise _changed(place)


def _knows_conditions(server: Server, place: S3Location) -> bool:
    """Whether the server keeps an object that a condition forbids to replace."""
    bucket, probe = place.address.bucket, f"{place.address.key}.{uuid4().hex}"
    try:
        _put(server, probe, place, b"{}", {})
        unmet = ({"If-None-Match": "*"}, {"If-Match": f'"{"0" * 32}"'})
        return not any(_put(server, probe, place, b"{}", condition) for condition in unmet)
    except ErrorPage as page:
        # Not Implemented.
        if page.status == 501:
            return False
        raise
    finally:
        server.client.remove_object(bucket, probe)


def _put(
    server: Server, key: str, place: S3Location, content: bytes, condition: Mapping[str, str]
) -> bool:
    """Writes an object; whether its condition was met."""
    bucket = place.address.bucket
    if not condition:
        server.client.put_object(
            bucket, key, io.BytesIO(content), len(content), content_type="application/json"
        )
        return True
    # The client has no conditions; a signed URL leaves other headers free.
    url = server.client.get_presigned_url("PUT", bucket, key, expires=timedelta(minutes=5))
    headers = {**condition, "Content-Length": str(len(content))}
    try:
        answer = server.pool.urlopen("PUT", url, body=content, headers=headers, redirect=False)
        answer.drain_conn()
        status = answer.status
    except ErrorPage as page:
        status = page.status
    if status >= 300 and status not in _UNMET:
        raise ErrorPage(status)
    return status < 300
