"""Brings a folder from an S3 server: whole, each file as its list says, or not at all."""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minio.error import S3Error
from urllib3.exceptions import HTTPError

from pocketkube.errors import UserError
from pocketkube.files import replaced_folder
from pocketkube.progress import Progress, progress
from pocketkube.storage.contents import (
    CONTENTS_FILE,
    OUR_FILES,
    UNFINISHED_FILE,
    Contents,
    File,
    List,
    Unfinished,
    read_list,
)
from pocketkube.storage.failures import is_missing, plain_failures
from pocketkube.storage.places import Place
from pocketkube.storage.server import Server, connect

MAX_LIST_BYTES = 16 << 20
CHUNK_BYTES = 1 << 20
TRIES = 4


def fetch_folder(place: Place, folder: Path) -> None:
    """Copies a folder from the server that the environment names.

    Args:
        place: The folder on the server.
        folder: The folder to create or replace.

    Raises:
        UserError: If the folder on the server is absent, incomplete, damaged or being overwritten, if
            its list names files outside it or more than the disk holds, or if the server cannot be
            reached or refuses.
    """
    server = connect(place)
    with plain_failures(server.endpoint, place):
        contents = fetch_list(server, place, CONTENTS_FILE, Contents)
        if contents is None:
            raise UserError(_why_absent(server, place))
        with (
            replaced_folder(folder) as aside,
            _fitting(place, contents, folder.parent),
            progress("fetch", contents.size_bytes, "byte") as shown,
        ):
            done = 0
            for file in contents.files:
                _fetch_file(server, place, file, aside / file.name, shown, done)
                done += file.size_bytes


def fetch_list(server: Server, place: Place, name: str, kind: type[List]) -> List | None:
    """Reads one of the lists that stand beside a folder's files; None if it is not there.

    Raises:
        UserError: If it is damaged or names files outside the folder.
    """
    source = f"{place}/{name}"
    try:
        response = server.client.get_object(place.bucket, place.object(name))
    except S3Error as error:
        if is_missing(error):
            return None
        raise
    with response:
        text = response.read(MAX_LIST_BYTES + 1)
    if len(text) > MAX_LIST_BYTES:
        raise UserError(f"{source} is too long for a list of files.")
    return read_list(kind, text, source)


def files_there(server: Server, place: Place) -> dict[str, int]:
    """Names and sizes in bytes of all that is below a place, apart from our own lists."""
    prefix = place.object("")
    found = {
        str(entry.object_name).removeprefix(prefix): entry.size or 0
        for entry in server.client.list_objects(place.bucket, prefix=prefix, recursive=True)
    }
    # Consoles mark folders with empty objects whose name ends in a slash.
    return {
        name: size
        for name, size in found.items()
        if name and not name.endswith("/") and name not in OUR_FILES
    }


def _why_absent(server: Server, place: Place) -> str:
    if fetch_list(server, place, UNFINISHED_FILE, Unfinished) is not None:
        return (
            f"{place} is incomplete: the stage that writes it was interrupted or is still at it; "
            "wait for it, or run it again."
        )
    if others := files_there(server, place):
        return (
            f"{place} is incomplete or was not written by PocketKube: {min(others)} is there, but no "
            f"{CONTENTS_FILE}; run the stage that writes it again."
        )
    return f"{place} is not there: {server.endpoint} has no object below it; is the URI right?"


@contextmanager
def _fitting(place: Place, contents: Contents, disk: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{place}, {contents.size_bytes} bytes, does not fit on the disk of {disk}; free some of "
            "it, or set TMPDIR to a folder with more room."
        ) from error


def _fetch_file(
    server: Server, place: Place, file: File, target: Path, shown: Progress, before: int
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as stream:
        for chunk in _chunks(server, place, file):
            size += len(chunk)
            if size > file.size_bytes:
                break
            digest.update(chunk)
            stream.write(chunk)
            shown.update(before + size)
    if size != file.size_bytes:
        raise UserError(
            _mismatch(place, file, f"has not the {file.size_bytes} bytes that it should have")
        )
    if digest.hexdigest() != file.sha256:
        raise UserError(_mismatch(place, file, "has another SHA-256 than it should have"))


def _chunks(server: Server, place: Place, file: File) -> Iterator[bytes]:
    """A file's content; where the connection breaks, the next one goes on from there."""
    done = 0
    for tries_left in reversed(range(TRIES)):
        try:
            response = server.client.get_object(place.bucket, place.object(file.name), offset=done)
        except S3Error as error:
            if is_missing(error):
                raise UserError(_mismatch(place, file, "is missing")) from error
            raise
        try:
            with response:
                for chunk in response.stream(CHUNK_BYTES, decode_content=False):
                    done += len(chunk)
                    yield chunk
            return
        except HTTPError:
            if not tries_left:
                raise


def _mismatch(place: Place, file: File, what: str) -> str:
    return (
        f"{place}/{file.name} {what}: it is damaged, or being overwritten right now; wait for the "
        "stage that writes it, or run it again."
    )
