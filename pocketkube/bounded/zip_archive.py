"""Reads zip archives in bounded memory."""

import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pocketkube.bounded.limits import (
    ALWAYS_BYTES,
    PIECE_BYTES,
    Unreadable,
    most_bytes,
    plain_reasons,
    refuse_above,
)

# What Python makes of JSON takes up to thirty times as much.
LARGEST_TEXT = 1 << 23
_TEXT_EXPANSION = 5
# Of LZMA and bzip2 zipfile unpacks all that it has read, some thousand times as much.
_SMALL_PIECE_BYTES = 1 << 12


class Member:
    """A member that is read from its beginning to its end."""

    def __init__(self, opened: IO[bytes], kind: int):
        whole = kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        self._opened, self._piece_bytes = opened, PIECE_BYTES if whole else _SMALL_PIECE_BYTES

    def read(self, count: int = sys.maxsize) -> bytes:
        """The next `count` bytes, or all; fewer where it ends.

        Raises:
            Unreadable: If it is damaged.
        """
        pieces = []
        with plain_reasons():
            while count and (piece := self._opened.read(min(count, self._piece_bytes))):
                pieces.append(piece)
                count -= len(piece)
        return b"".join(pieces)


class ZipArchive:
    """An archive whose members together are no more than may be expected of its size."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive

    @property
    def names(self) -> list[str]:
        """Its members."""
        return list(dict.fromkeys(self._archive.namelist()))

    def size(self, name: str) -> int:
        """How many bytes a member has, unpacked; no more are ever read of it."""
        return self._info(name).file_size

    @contextmanager
    def opened(self, name: str) -> Iterator[Member]:
        """Opens a member.

        Raises:
            Unreadable: If there is none, or it is damaged.
        """
        info = self._info(name)
        with plain_reasons():
            opened = self._archive.open(info)
        with opened:
            yield Member(opened, info.compress_type)

    def read(self, name: str, most: int | None = None) -> bytes:
        """A member's content.

        Args:
            name: The member.
            most: How many bytes it has at most; None where the archive's size is all that is known.

        Raises:
            Unreadable: If there is none, or it is damaged or larger.
        """
        info = self._info(name)
        if most is not None and info.file_size > most:
            raise Unreadable(f"its {name} has {info.file_size} bytes, where {most} are the most")
        with self.opened(name) as member:
            return member.read()

    def text(self, name: str) -> bytes:
        """The content of a member that is read as JSON.

        Raises:
            Unreadable: If there is none, or it is damaged or larger than any text of a model.
        """
        # A text that does not shrink much may be longer, as a list of words is.
        largest = max(LARGEST_TEXT, _TEXT_EXPANSION * self._info(name).compress_size)
        return self.read(name, largest)

    def _info(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._archive.getinfo(name)
        except KeyError:
            raise Unreadable(f"it has no {name}") from None


@contextmanager
def opened_zip(path: Path, always: int = ALWAYS_BYTES) -> Iterator[ZipArchive]:
    """Opens an archive.

    Args:
        path: The file.
        always: So many bytes its members may have together, however small it is.

    Raises:
        Unreadable: If it is none, or its members would be larger than may be expected of its size.
    """
    with plain_reasons():
        archive = zipfile.ZipFile(path)
    with archive:
        stored = path.stat().st_size
        unpacked = sum(info.file_size for info in archive.infolist())
        refuse_above(most_bytes(stored, always=always), unpacked, stored)
        yield ZipArchive(archive)
