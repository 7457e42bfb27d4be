"""Brings a folder to an S3 server, where it is complete once its list of checksums stands."""

import io
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from pocketkube.console.progress import Progress, progress
from pocketkube.errors import UserError
from pocketkube.storage.address import S3Address
from pocketkube.storage.checksums import (
    CONTENTS_FILE,
    PROBE_FILE,
    UNFINISHED_FILE,
    Contents,
    Unfinished,
    known_names,
    measure,
)
from pocketkube.storage.failures import ServerAway, plain_failures
from pocketkube.storage.fetch import fetch_list, files_there
from pocketkube.storage.server import Server, connect

PART_BYTES = 16 << 20
MAX_OBJECT_NAME_BYTES = 1024


class AlreadyThere(UserError):
    """A complete folder stands where one was not to be replaced."""


def send_folder(folder: Path, address: S3Address, *, replaces: bool = True) -> None:
    """Copies a folder to the server that the environment names; what stood there before is gone.

    A server cannot rename. The old list of checksums is removed before anything else changes, and the
    new one written when everything stands: whoever reads meanwhile finds the folder absent. Of two that
    write at once, the one that began first gives up as soon as it sees the other.

    Args:
        folder: The folder.
        address: Where it goes.
        replaces: Whether a complete folder that stands there may be replaced.

    Raises:
        AlreadyThere: If it may not, and there is one.
        ServerAway: If the same may succeed later.
        UserError: If the folder is empty, others' objects are there, another stage writes there, or the
            server refuses.
    """
    contents = measure(folder)
    _refuse_unsendable(folder, address, contents)
    new = {file.name for file in contents.files}
    server = connect(address)
    with plain_failures(server.endpoint, address):
        old = _own_files(server, address)
        mark = Unfinished(writer=uuid4().hex, names=tuple(sorted(old | new)))
        _put_text(server, address, UNFINISHED_FILE, mark.model_dump_json(indent=1))
        if not _own_files(server, address) <= {*mark.names}:
            # Somebody finished between our look and our mark, which does not know of all that is there.
            _remove(server, address, UNFINISHED_FILE)
            raise UserError(_rival(address))
        if not replaces and fetch_list(server, address, CONTENTS_FILE, Contents) is not None:
            _remove(server, address, UNFINISHED_FILE)
            raise AlreadyThere(f"{address} is there already, and is never replaced.")
        _remove(server, address, CONTENTS_FILE)
        for name in sorted(old - new):
            _remove(server, address, name)
        _put_files(server, address, folder, contents, mark)
        _compare(server, address, contents)
        _yield_to_rival(server, address, mark)
        _put_text(server, address, CONTENTS_FILE, contents.model_dump_json(indent=1))
        _remove(server, address, UNFINISHED_FILE)


def refuse_unwritable(address: S3Address) -> None:
    """Finds out before the work what `send_folder` would only find out after it.

    Raises:
        UserError: If the server cannot be reached or refuses to write there, or others' objects are
            there.
    """
    server = connect(address)
    with plain_failures(server.endpoint, address):
        _own_files(server, address)
        try:
            _put_text(server, address, PROBE_FILE, "{}")
        finally:
            _remove(server, address, PROBE_FILE)


def _refuse_unsendable(folder: Path, address: S3Address, contents: Contents) -> None:
    if not contents.files:
        raise UserError(f"{address} cannot be written: {folder} has no files.")
    longest = max((file.name for file in contents.files), key=lambda name: len(name.encode()))
    if len(address.object(longest).encode()) > MAX_OBJECT_NAME_BYTES:
        raise UserError(
            f"{address} cannot be written: with {longest} behind it, it is longer than the "
            f"{MAX_OBJECT_NAME_BYTES} bytes that S3 allows; give a shorter place."
        )


def _own_files(server: Server, address: S3Address) -> set[str]:
    """The files that a stage has left at `address`; refuses what anybody else has put there."""
    known = known_names(
        fetch_list(server, address, CONTENTS_FILE, Contents),
        fetch_list(server, address, UNFINISHED_FILE, Unfinished),
    )
    there = files_there(server, address).keys()
    if others := there - {*known}:
        raise UserError(
            f"{address} cannot be written: s3://{address.bucket}/{address.object(min(others))} is "
            "there, which no stage has written to this place; give another place, or remove what is "
            "there."
        )
    return {*there}


def _put_files(
    server: Server, address: S3Address, folder: Path, contents: Contents, mark: Unfinished
) -> None:
    with progress("send", contents.size_bytes, "byte") as shown:
        done = 0
        for file in contents.files:
            _yield_to_rival(server, address, mark)
            with (folder / file.name).open("rb") as stream:
                server.client.put_object(
                    address.bucket,
                    address.object(file.name),
                    _Watched(stream, shown, done),  # type: ignore[arg-type]
                    file.size_bytes,
                    part_size=PART_BYTES,
                    # Its threads would go on where the user has interrupted this one.
                    num_parallel_uploads=1,
                )
            done += file.size_bytes
            shown.update(done)


def _yield_to_rival(server: Server, address: S3Address, mark: Unfinished) -> None:
    """Gives up where somebody has begun to write after us, and takes away what they do not know of."""
    found = fetch_list(server, address, UNFINISHED_FILE, Unfinished)
    if found is not None and found.writer == mark.writer:
        return
    theirs = known_names(fetch_list(server, address, CONTENTS_FILE, Contents), found)
    for name in sorted({*mark.names} - {*theirs}):
        _remove(server, address, name)
    raise UserError(_rival(address))


def _compare(server: Server, address: S3Address, contents: Contents) -> None:
    """Whether the server keeps what it said it took.

    S3 may find out that it cannot join a file's parts when it has already answered that it can.
    """
    there = files_there(server, address)
    wanted = {file.name: file.size_bytes for file in contents.files}
    if others := there.keys() - wanted.keys():
        raise UserError(f"{_rival(address)} {min(others)} has appeared there.")
    for name, size in wanted.items():
        if there.get(name) != size:
            raise ServerAway(
                f"{address}/{name} was sent, but the server did not keep its {size} bytes; try again."
            )


def _rival(address: S3Address) -> str:
    return (
        f"Another stage writes to {address}: give each a place of its own, or run this one again when "
        "the other has ended."
    )


class _Watched:
    """A file that says how far it was read."""

    def __init__(self, stream: BinaryIO, shown: Progress, before: int):
        self._stream, self._shown, self._before = stream, shown, before

    def read(self, size: int) -> bytes:
        # What is read next says that the parts before have been sent.
        self._shown.update(self._before + self._stream.tell())
        return self._stream.read(size)


def _put_text(server: Server, address: S3Address, name: str, text: str) -> None:
    data = text.encode()
    server.client.put_object(
        address.bucket,
        address.object(name),
        io.BytesIO(data),
        len(data),
        content_type="application/json",
    )


def _remove(server: Server, address: S3Address, name: str) -> None:
    server.client.remove_object(address.bucket, address.object(name))
