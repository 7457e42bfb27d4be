"""Copies on a server of a folder's files, made while they change, so that work can go on elsewhere."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.storage.address import S3Address
from pocketkube.storage.failures import plain_failures
from pocketkube.storage.fetch import download_all
from pocketkube.storage.objects import list_objects
from pocketkube.storage.patience import patiently
from pocketkube.storage.server import Server, connect

SECONDS_BETWEEN_LOOKS = 2.0
_PART_BYTES = 16 << 20


@contextmanager
def backed_up(
    folder: Path, address: S3Address, by_this_process: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Brings back a folder's files, and sends those that change during the block.

    Each file has to be replaced as a whole, never written in place. A thread looks for changes every
    two seconds; what it cannot send, because the server is away, it sends later. What changed last is
    sent when the block ends, whether by an error or not.

    Args:
        folder: The folder; made where it is not there, and files are there.
        address: Where its files' copies are; nothing else may be there.
        by_this_process: Whether it is for this process to send, now; of several, one does.

    Raises:
        UserError: If the server stays away before the block begins, or refuses.
    """
    # Any of several processes may have to go on from them.
    if by_this_process() or not any(folder.glob("*")):
        patiently("fetch", lambda: _bring_back(folder, address))
    copies, ended = _Copies(folder, address), threading.Event()

    def send_again_and_again() -> None:
        while not ended.wait(SECONDS_BETWEEN_LOOKS):
            if by_this_process():
                copies.send_changed()

    # A thread that still waits for a server must not keep a process that was told to end.
    sender = threading.Thread(target=send_again_and_again, name="backup", daemon=True)
    sender.start()
    try:
        yield
    finally:
        ended.set()
        sender.join()
        if by_this_process():
            copies.send_changed()


def remove_objects(address: S3Address) -> None:
    """Removes all that is below an address.

    Raises:
        UserError: If the server is away or refuses.
    """
    server = connect(address)
    with plain_failures(server.endpoint, address):
        for each in list_objects(server, address.bucket, address.object("")):
            server.client.remove_object(each.bucket, each.key)


def remove_if_possible(address: S3Address) -> None:
    """Removes all that is below an address; says so on standard error where that is in vain."""
    try:
        remove_objects(address)
    except UserError as error:
        print(f"{address} was not removed: {error}", file=sys.stderr, flush=True)


def _bring_back(folder: Path, address: S3Address) -> None:
    server = connect(address)
    with plain_failures(server.endpoint, address):
        prefix = address.object("")
        objects = list_objects(server, address.bucket, prefix)
        if objects:
            download_all(server, objects, prefix, folder)


class _Copies:
    """The files that were sent, and as what."""

    def __init__(self, folder: Path, address: S3Address) -> None:
        self._folder, self._address = folder, address
        self._server: Server | None = None
        self._is_away = False
        # What was just brought back is there.
        self._sent = self._versions()

    def send_changed(self) -> None:
        """Sends the files that changed since they were sent; says so once where that is in vain."""
        try:
            for name, version in self._versions().items():
                if self._sent.get(name) != version:
                    self._send(name)
                    self._sent[name] = version
            self._is_away = False
        except (UserError, OSError) as error:
            if not self._is_away:
                print(f'backup="{self._address}" failed="{error}"', file=sys.stderr, flush=True)
            self._is_away, self._server = True, None

    def _send(self, name: str) -> None:
        self._server = self._server or connect(self._address)
        with (
            plain_failures(self._server.endpoint, self._address),
            # Open, the file stays what it is when another takes its place.
            (self._folder / name).open("rb") as stream,
        ):
            size = stream.seek(0, 2)
            stream.seek(0)
            self._server.client.put_object(
                self._address.bucket,
                self._address.object(name),
                stream,
                size,
                part_size=_PART_BYTES,
                num_parallel_uploads=1,
            )

    def _versions(self) -> dict[str, tuple[int, int]]:
        """Each file's name, with what changes when another takes its place."""
        found = {}
        for path in self._folder.glob("*"):
            # Files that are being written begin with a dot.
            if not path.name.startswith(".") and path.is_file():
                status = path.stat()
                found[path.name] = (status.st_mtime_ns, status.st_ino)
        return found
