"""Brings a folder from an S3 server: whole, each file as its list says, or not at all."""

import hashlib
from pathlib import Path

from minio.error import S3Error

from pocketkube.errors import UserError
from pocketkube.files import replaced_folder
from pocketkube.progress import Progress, progress
from pocketkube.storage.contents import (
    CONTENTS_FILE,
    UNFINISHED_FILE,
    Contents,
    File,
    List,
    Unfinished,
    read_list,
)
from pocketkube.storage.places import Place
from pocketkube.storage.server import Server, connect, is_missing, plain_failures

MAX_LIST_BYTES = 16 << 20
CHUNK_BYTES = 1 << 20


def fetch_folder(place: Place, folder: Path) -> None:
    """Copies a folder from the server that the environment names.

    Args:
        place: The folder on the server.
        folder: The folder to create or replace.

    Raises:
        UserError: If the folder on the server is absent, incomplete, damaged or being overwritten, if
            its list names files outside it, or if the server cannot be reached or refuses.
    """
    server = connect(place)
    with plain_failures(server, place):
        contents = fetch_list(server, place, CONTENTS_FILE, Contents)
        if contents is None:
            raise UserError(_why_absent(server, place))
        with replaced_folder(folder) as aside, progress("fetch", contents.size_bytes, "byte") as shown:
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


def _why_absent(server: Server, place: Place) -> str:
    if fetch_list(server, place, UNFINISHED_FILE, Unfinished) is not None:
        return (
            f"{place} is incomplete: the stage that writes it was interrupted or is still at it; "
            "wait for it, or run it again."
        )
    others = server.client.list_objects(place.bucket, prefix=place.object(""), recursive=True)
    if (first := next(iter(others), None)) is not None:
        return (
            f"{place} is incomplete or was not written by PocketKube: {first.object_name} is there, "
            f"but no {CONTENTS_FILE}; run the stage that writes it again."
        )
    return f"{place} is not there: {server.endpoint} has no object below it; is the URI right?"


def _fetch_file(
    server: Server, place: Place, file: File, target: Path, shown: Progress, before: int
) -> None:
    try:
        response = server.client.get_object(place.bucket, place.object(file.name))
    except S3Error as error:
        if is_missing(error):
            raise UserError(_mismatch(place, file, "is missing")) from error
        raise
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with response, target.open("wb") as stream:
        for chunk in response.stream(CHUNK_BYTES, decode_content=False):
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


def _mismatch(place: Place, file: File, what: str) -> str:
    return (
        f"{place}/{file.name} {what}: it is damaged, or being overwritten right now; wait for the "
        "stage that writes it, or run it again."
    )
