"""Reads compressed files and tar archives in bounded memory."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pocketkube.bounded.limits import EXPANSION, Unreadable, most_bytes, plain_reasons, refuse_above

_PACKERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}


class Stream:
    """The content of a file, unpacked as it is read.

    Attributes:
        stored_bytes: What the file takes.
    """

    def __init__(self, file: IO[bytes], stored_bytes: int, most: int | None):
        self._file, self.stored_bytes, self._most, self._read_bytes = file, stored_bytes, most, 0

    def read(self, count: int) -> bytes:
        """The next `count` bytes; fewer where it ends.

        Raises:
            Unreadable: If it is damaged, or becomes more than may be expected of the file's size.
        """
        if self._most is None:
            count = min(count, self.stored_bytes)
        else:
            refuse_above(self._most, self._read_bytes + count, self.stored_bytes)
        with plain_reasons():
            content = self._file.read(count)
        self._read_bytes += len(content)
        return content


@contextmanager
def opened_stream(path: Path, expansion: int = EXPANSION) -> Iterator[Stream]:
    """Opens a file that is compressed by gzip, bzip2 or xz, or not at all.

    Args:
        path: The file.
        expansion: How many times its size its content may be, beside what may be of anything.

    Raises:
        Unreadable: If it cannot be opened.
    """
    with plain_reasons():
        with path.open("rb") as file:
            begin = file.read(max(map(len, _PACKERS)))
        packer = next((each for magic, each in _PACKERS.items() if begin.startswith(magic)), None)
        stored = path.stat().st_size
        opened = path.open("rb") if packer is None else packer(path, "rb")
    with opened:
        yield Stream(opened, stored, None if packer is None else most_bytes(stored, expansion))


def tar_members(
    path: Path, is_wanted: Callable[[str], bool], expansion: int = EXPANSION
) -> Iterator[tuple[str, bytes]]:
    """The plain files of a tar archive, one after the other; nothing is written.

    Args:
        path: The archive, compressed or not.
        is_wanted: Whether a member is, by the name that the archive has it under; the others are
            passed over.
        expansion: How many times its size its content may be, beside what may be of anything.

    Returns:
        Each wanted member's name and content.

    Raises:
        Unreadable: If it is no tar archive, damaged, or larger than may be expected of its size.
    """
    with opened_stream(path, expansion) as stream:
        most = most_bytes(stream.stored_bytes, expansion)
        with plain_reasons():
            # "|": without going back, so that everything passes through the stream once.
            archive = tarfile.open(fileobj=stream, mode="r|")  # type: ignore[call-overload] # noqa: SIM115
        with archive:
            while (member := _next(archive)) is not None:
                refuse_above(most, member.offset_data + member.size, stream.stored_bytes)
                if is_wanted(member.name) and member.isreg() and not member.issparse():
                    with plain_reasons():
                        opened = archive.extractfile(member)
                        assert opened is not None
                        content = opened.read()
                    yield member.name, content


def _next(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    with plain_reasons():
        return archive.next()


def inflated(content: bytes, most: int, *, gzipped: bool = False) -> bytes:
    """What zlib or gzip compressed.

    Args:
        content: All of what it became.
        most: How many bytes it was at most.
        gzipped: Whether by gzip.

    Raises:
        Unreadable: If it is damaged, cut off, or was more.
    """
    stream = zlib.decompressobj(31 if gzipped else zlib.MAX_WBITS)
    with plain_reasons():
        found = stream.decompress(content, most)
    if stream.unconsumed_tail or not stream.eof:
        raise Unreadable(f"it is cut off, or more than {most} bytes")
    if stream.unused_data:
        raise Unreadable("something follows it")
    return found
