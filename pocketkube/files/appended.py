"""A file that only grows, line by line: what a process keeps of its work for the next one."""

import os
from pathlib import Path
from typing import BinaryIO, Self

from pocketkube.files.held import locked_now
from pocketkube.files.whole import flush_entries


class WrittenByAnother(Exception):
    """Another process writes the file, or has since it was read."""


class AppendedLines:
    """Lines that are each on disk before the next one begins.

    Whoever writes first holds the file until it is closed or gone; reading never waits.

    Attributes:
        lines: Those that were there. A last one that was cut short by a kill is none.
    """

    def __init__(self, file: Path) -> None:
        """Reads what there is; the folder is made where it is not there."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._writer: BinaryIO | None = None
        content = file.read_bytes() if file.is_file() else b""
        self._bytes, self._whole_bytes = len(content), content.rfind(b"\n") + 1
        self.lines = tuple(content[: self._whole_bytes].decode("utf-8", "replace").splitlines())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self) -> None:
        """Keeps others from writing, and removes a line that was cut short.

        Raises:
            WrittenByAnother: If another process holds it, or has written since it was read.
        """
        if self._writer is not None:
            return
        lock = locked_now(self._file)
        if lock is None:
            raise WrittenByAnother
        if os.fstat(lock).st_size != self._bytes:
            os.close(lock)
            raise WrittenByAnother
        os.truncate(lock, self._whole_bytes)
        flush_entries(self._file.parent)
        self._writer = os.fdopen(lock, "ab")

    def append(self, line: str) -> None:
        """Writes a line, and holds the file from the first one on; see `hold`."""
        self.hold()
        assert self._writer is not None
        self._writer.write(f"{line}\n".encode())
        self._writer.flush()
        os.fsync(self._writer.fileno())

    def close(self) -> None:
        """Lets another process write."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
