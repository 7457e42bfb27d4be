"""Brings a folder to an S3 server, where it is complete once its list of checksums stands."""

import io
from pathlib import Path
from typing import BinaryIO

from pocketkube.errors import UserError
from pocketkube.progress import Progress, progress
from pocketkube.storage.contents import (
    CONTENTS_FILE,
    UNFINISHED_FILE,
    Contents,
    Unfinished,
    known_names,
    measure,
)
from pocketkube.storage.fetch import fetch_list
from pocketkube.storage.places import Place
from pocketkube.storage.server import Server, connect, plain_failures

PART_BYTES = 16 << 20


def send_folder(folder: Path, place: Place) -> None:
    """Copies a folder to the server that the environment names; what stood there before is gone.

    A server cannot rename. The old list of checksums is removed before anything else changes, and the
    new one written when everything stands: whoever reads meanwhile finds the folder absent.

    Args:
        folder: The folder.
        place: Where it goes.

    Raises:
        UserError: If others' objects are there, or the server cannot be reached or refuses.
    """
    contents = measure(folder)
    new = {file.name for file in contents.files}
    server = connect(place)
    with plain_failures(server, place):
        old = _own_files(server, place)
        names = Unfinished(names=tuple(sorted(old | new)))
        _put_text(server, place, UNFINISHED_FILE, names.model_dump_json(indent=1))
        _remove(server, place, CONTENTS_FILE)
        for name in sorted(old - new):
            _remove(server, place, name)
        _put_files(server, place, folder, contents)
        _put_text(server, place, CONTENTS_FILE, contents.model_dump_json(indent=1))
        _remove(server, place, UNFINISHED_FILE)


def refuse_unwritable(place: Place) -> None:
    """Finds out before the work what `send_folder` would only find out after it.

    Raises:
        UserError: If the server cannot be reached or refuses to write there, or others' objects are
            there.
    """
    server = connect(place)
    with plain_failures(server, place):
        _own_files(server, place)
        if fetch_list(server, place, UNFINISHED_FILE, Unfinished) is None:
            _put_text(server, place, UNFINISHED_FILE, Unfinished(names=()).model_dump_json())
            _remove(server, place, UNFINISHED_FILE)


def _own_files(server: Server, place: Place) -> set[str]:
    """The files that a stage has left at `place`; refuses what anybody else has put there."""
    known = set(
        known_names(
            fetch_list(server, place, CONTENTS_FILE, Contents),
            fetch_list(server, place, UNFINISHED_FILE, Unfinished),
        )
    )
    prefix = place.object("")
    there = set()
    for found in server.client.list_objects(place.bucket, prefix=prefix, recursive=True):
        name = str(found.object_name).removeprefix(prefix)
        # Consoles mark folders with empty objects whose name ends in a slash.
        if name.endswith("/") or name in ("", CONTENTS_FILE, UNFINISHED_FILE):
            continue
        if name not in known:
            raise UserError(
                f"{place} cannot be written: s3://{place.bucket}/{found.object_name} is there, which "
                "no stage has written to this place; give another place, or remove what is there."
            )
        there.add(name)
    return there


def _put_files(server: Server, place: Place, folder: Path, contents: Contents) -> None:
    with progress("send", contents.size_bytes, "byte") as shown:
        done = 0
        for file in contents.files:
            with (folder / file.name).open("rb") as stream:
                server.client.put_object(
                    place.bucket,
                    place.object(file.name),
                    _Watched(stream, shown, done),  # type: ignore[arg-type]
                    file.size_bytes,
                    part_size=PART_BYTES,
                    # Its threads would go on where the user has interrupted this one.
                    num_parallel_uploads=1,
                )
            done += file.size_bytes
            shown.update(done)


class _Watched:
    """A file that says how far it was read."""

    def __init__(self, stream: BinaryIO, shown: Progress, before: int):
        self._stream, self._shown, self._before = stream, shown, before

    def read(self, size: int) -> bytes:
        # What is read next says that the parts before have been sent.
        self._shown.update(self._before + self._stream.tell())
        return self._stream.read(size)


def _put_text(server: Server, place: Place, name: str, text: str) -> None:
    data = text.encode()
    server.client.put_object(
        place.bucket, place.object(name), io.BytesIO(data), len(data), content_type="application/json"
    )


def _remove(server: Server, place: Place, name: str) -> None:
    server.client.remove_object(place.bucket, place.object(name))
