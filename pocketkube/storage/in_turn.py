"""Fetches files that are read one after the other: each in its turn, and the next ones ahead."""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

from pocketkube.storage.download_cache import limit_bytes
from pocketkube.storage.location import Fetched, Location, S3Location
from pocketkube.storage.patience import patiently

# How many files are fetched before their turn.
AHEAD = 2


class InTurn:
    """Keeps the file that was fetched last where it is, and brings the next ones meanwhile.

    Those before it were opened, and can be read to their ends wherever they are gone. What is fetched
    before its turn is not kept: if others need its room, it is fetched once more.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._last: Fetched | None = None
        self._next, self._at_work = deque[S3Location](), False

    def fetch(self, file: Location, following: Iterable[Location]) -> Path:
        """Brings a file to this machine; waits some ten minutes for a server that is away.

        Args:
            file: The file whose turn it is.
            following: The files that are read after it, in their order; none is waited for.

        Raises:
            UserError: See `Location.fetch`.
        """
        fetched = patiently("fetch", file.fetch)
        with self._lock:
            # What waiting has left behind would hold it for longer than this does.
            if self._last and self._last.held:
                self._last.held.close()
            self._last = fetched
            self._next = deque(_with_room(file, following))
            if self._next and not self._at_work:
                self._at_work = True
                # It must not keep a process that ends.
                Thread(target=self._fetch_ahead, name="fetch-ahead", daemon=True).start()
        return fetched.path

    def _fetch_ahead(self) -> None:
        while True:
            with self._lock:
                if not self._next:
                    self._at_work = False
                    return
                file = self._next.popleft()
            # What goes wrong is told when its turn comes.
            with suppress(Exception), file.fetched(silent=True):
                pass


def _with_room(reading: Location, following: Iterable[Location]) -> Iterable[S3Location]:
    """The next ones that are elsewhere, in half of the cache: the rest is for what others hold."""
    room = limit_bytes() / 2 - _size_bytes(reading)
    for _, file in zip(range(AHEAD), following, strict=False):
        room -= _size_bytes(file)
        if room < 0 or not isinstance(file, S3Location):
            return
        yield file


def _size_bytes(file: Location) -> int:
    return file.known.size_bytes if isinstance(file, S3Location) and file.known else 0
