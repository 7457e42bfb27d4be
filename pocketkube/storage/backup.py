"""Copies on a server of a folder's files, made while they change, so that work can go on elsewhere."""

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.storage.address import MAX_KEY_BYTES, S3Address, why_no_name
from pocketkube.storage.failures import plain_failures
from pocketkube.storage.fetch import download_all
from pocketkube.storage.objects import S3Object, list_objects
from pocketkube.storage.patience import patiently
from pocketkube.storage.server import Server, connect

SECONDS_BETWEEN_LOOKS = 2.0
_PART_BYTES = 16 << 20
# Kept with a copy: when its file changed, in nanoseconds since 1970. The server's own time is that of
# the copy's end, and the file may have changed while it was sent.
_CHANGED = "changed-ns"


@contextmanager
def backed_up(
    folder: Path, address: S3Address, by_this_process: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Brings back a folder's files, and sends those that change during the block.

    Each file has to be replaced as a whole, never written in place. One that has changed here since its
    copy was sent stays, and is sent. A thread looks for changes every two seconds; what it cannot send,
    because the server is away, it sends later. What changed last is sent when the block ends, whether
    by an error or not.

    Args:
        folder: The folder; made where it is not there, and files are there.
        address: Where its files' copies are; nothing else may be there.
        by_this_process: Whether it is for this process to send, now; of several, one does.

    Raises:
        UserError: If the server stays away before the block begins, or refuses.
    """
    # Any of several processes may have to go on from them.
    copies, ended = _Copies(folder, address), threading.Event()
    if by_this_process() or not any(folder.glob("*")):
        patiently("fetch", copies.bring_back)

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


class _Copies:
    """The files that were sent, and as what."""

    def __init__(self, folder: Path, address: S3Address) -> None:
        self._folder, self._address = folder, address
        self._server: Server | None = None
        self._is_away = False
        self._sent: dict[str, tuple[int, int]] = {}

    def bring_back(self) -> None:
        """Takes the place of each file that has not changed here since its copy was sent."""
        server, prefix = connect(self._address), self._address.object("")
        with plain_failures(server.endpoint, self._address):
            wanted = [
                each
                for each in list_objects(server, self._address.bucket, prefix)
                if self._is_newer(server, each, each.key.removeprefix(prefix))
            ]
            if not wanted:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".", dir=self._folder) as aside:
                download_all(server, wanted, prefix, Path(aside))
                names = sorted(file.name for file in Path(aside).iterdir())
                for name in names:
                    (Path(aside) / name).replace(self._folder / name)
        versions = self._versions()
        self._sent = {name: versions[name] for name in names}

    def _is_newer(self, server: Server, copy: S3Object, name: str) -> bool:
        """Whether a copy is of a file that is not here, or here is no later one."""
        # Hidden files and those of folders are not sent: whoever put these there, they are no copies.
        if "/" in name or name.startswith(".") or why_no_name(name, MAX_KEY_BYTES):
            return False
        file = self._folder / name
        if not file.exists():
            return True
        found = server.client.stat_object(copy.bucket, copy.key).metadata or {}
        changed = found.get(f"x-amz-meta-{_CHANGED}", "")
        return changed.isdecimal() and int(changed) >= file.stat().st_mtime_ns

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
            changed = os.fstat(stream.fileno()).st_mtime_ns
            size = stream.seek(0, 2)
            stream.seek(0)
            self._server.client.put_object(
                self._address.bucket,
                self._address.object(name),
                stream,
                size,
                metadata={_CHANGED: f"{changed}"},
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
