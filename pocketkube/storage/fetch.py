"""Brings a folder from an S3 server: whole, each file as its list says, or not at all."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from minio.error import S3Error

from pocketkube.console.progress import Silent, progress
from pocketkube.errors import UserError
from pocketkube.files.whole import replaced_folder
from pocketkube.storage.address import S3Address
from pocketkube.storage.checksums import (
    CONTENTS_FILE,
    OUR_FILES,
    UNFINISHED_FILE,
    Contents,
    List,
    Unfinished,
    read_list,
)
from pocketkube.storage.failures import is_missing, plain_failures
from pocketkube.storage.objects import S3Object, download, list_objects
from pocketkube.storage.server import Server, connect

MAX_LIST_BYTES = 16 << 20


def fetch_folder(address: S3Address, folder: Path) -> None:
    """Copies a folder that `send_folder` has written, from the server that the environment names.

    Args:
        address: The folder on the server.
        folder: The folder to create or replace.

    Raises:
        UserError: If the folder on the server is absent, incomplete, damaged or being overwritten, if
            its list names files outside it or more than the disk holds, or if the server cannot be
            reached or refuses.
    """
    server = connect(address)
    with plain_failures(server.endpoint, address):
        contents = fetch_contents(server, address)
        with (
            replaced_folder(folder) as aside,
            _fitting(address, contents, folder.parent),
        ):
            download_all(server, listed_objects(address, contents), address.object(""), aside)


def fetch_contents(server: Server, address: S3Address) -> Contents:
    """What a folder holds that `send_folder` has written.

    Raises:
        UserError: If it is absent or incomplete, or its list is damaged.
    """
    contents = fetch_list(server, address, CONTENTS_FILE, Contents)
    if contents is None:
        raise UserError(_why_absent(server, address))
    return contents


def listed_objects(address: S3Address, contents: Contents) -> list[S3Object]:
    """The objects that a list names, with its checksums."""
    return [
        S3Object(address.bucket, address.object(file.name), file.size_bytes, sha256=file.sha256)
        for file in contents.files
    ]


def download_all(
    server: Server, objects: Sequence[S3Object], prefix: str, folder: Path, *, silent: bool = False
) -> None:
    """Copies objects into a folder, by what their names have behind `prefix`.

    Args:
        server: The server.
        objects: The objects.
        prefix: What all their names begin with.
        folder: The folder to write into.
        silent: Whether to show no progress.

    Raises:
        UserError: If one is missing, or not what it should be.
    """
    total = sum(each.size_bytes for each in objects)
    with nullcontext(Silent()) if silent else progress("fetch", total, "byte") as shown:
        done = 0
        for each in objects:
            download(server, each, folder / each.key.removeprefix(prefix), shown, done)
            done += each.size_bytes


def fetch_list(server: Server, address: S3Address, name: str, kind: type[List]) -> List | None:
    """Reads one of the lists that stand beside a folder's files; None if it is not there.

    Raises:
        UserError: If it is damaged or names files outside the folder.
    """
    source = f"{address}/{name}"
    try:
        response = server.client.get_object(address.bucket, address.object(name))
    except S3Error as error:
        if is_missing(error):
            return None
        raise
    with response:
        text = response.read(MAX_LIST_BYTES + 1)
    if len(text) > MAX_LIST_BYTES:
        raise UserError(f"{source} is too long for a list of files.")
    return read_list(kind, text, source)


def files_there(server: Server, address: S3Address) -> dict[str, int]:
    """Names and sizes in bytes of all that is below an address, apart from our own lists."""
    prefix = address.object("")
    found = {
        each.key.removeprefix(prefix): each.size_bytes
        for each in list_objects(server, address.bucket, prefix)
    }
    return {name: size for name, size in found.items() if name not in OUR_FILES}


def _why_absent(server: Server, address: S3Address) -> str:
    if fetch_list(server, address, UNFINISHED_FILE, Unfinished) is not None:
        return (
            f"{address} is incomplete: the stage that writes it was interrupted or is still at it; "
            "wait for it, or run it again."
        )
    if others := files_there(server, address):
        return (
            f"{address} is incomplete or was not written by PocketKube: {min(others)} is there, but no "
            f"{CONTENTS_FILE}; run the stage that writes it again."
        )
    return (
        f"{address} is not there: {server.endpoint} has no object of this name or below it; is the URI "
        "right?"
    )


@contextmanager
def _fitting(address: S3Address, contents: Contents, disk: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{address}, {contents.size_bytes} bytes, does not fit on the disk of {disk}; free some of "
            "it, or set TMPDIR to a folder with more room."
        ) from error
