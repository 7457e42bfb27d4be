"""Refuses HDF5 files that would grow beyond what may be expected of them when they are read."""

import io
import math
import re
import zlib
from functools import cached_property
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import h5py

from pocketkube.bounded.limits import Unreadable, most_bytes, plain_reasons, refuse_above

_KNOWN_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_CHECKSUM_BYTES = 4
# A heap of texts says its size; see "Global Heap" in HDF5's format specification.
_HEAP = re.compile(rb"GCOL\x01...(.{8})", re.DOTALL)
# Names times the longest text, which is the configuration: a layer has its part of that, and as much of
# the rest of the file at least.
_TEXT_EXPANSION = 128
_ANEW = "save the model anew"


def count_numbers(source: Path | bytes) -> int:
    """How many numbers a file holds: all its arrays are looked at, whatever they are for, none is read.

    HDF5 makes room for what an array says that it is, and unpacks a compressed piece of one however
    large it becomes.

    Args:
        source: The file, or its content.

    Raises:
        Unreadable: If it is damaged, or arrays are not of plain numbers, lie in other files, are
            compressed by what Keras never uses, or are more than may be expected of the file's size.
    """
    stored_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    with plain_reasons(), h5py.File(opened, "r") as file:
        arrays = _arrays(file, source, stored_bytes)
        refuse_above(most_bytes(stored_bytes), sum(map(_room, arrays)), stored_bytes)
        for array in arrays:
            if array.external or array.is_virtual:
                raise Unreadable(f"{array.name} lies in another file")
            # Each of its elements could be the same long text.
            if array.dtype.hasobject:
                raise Unreadable(f"{array.name} is not of plain numbers")
            if array.chunks is not None:
                _refuse_swelling(array)
        return sum(math.prod(array.shape or ()) for array in arrays)


def _arrays(file: h5py.File, source: Path | bytes, stored_bytes: int) -> list[h5py.Dataset]:
    """All arrays, none of whose attributes is larger than the file has content for."""
    found: list[h5py.Dataset] = []
    texts = _Texts(source, stored_bytes)

    def visit(_: str, item: Any) -> None:
        texts.refuse_swollen(item)
        if isinstance(item, h5py.Dataset):
            found.append(item)

    visit("/", file)
    file.visititems(visit)
    return found


class _Texts:
    """What the texts in attributes take at most."""

    def __init__(self, source: Path | bytes, stored_bytes: int):
        self._source, self._stored_bytes = source, stored_bytes

    def refuse_swollen(self, item: Any) -> None:
        """Refuses attributes that become more than may be expected when they are read.

        The texts of a list stand elsewhere in the file, where all of them may stand at one place.
        """
        most = most_bytes(self._stored_bytes, _TEXT_EXPANSION)
        for name in item.attrs:
            attribute = item.attrs.get_id(name)
            count, dtype = math.prod(attribute.shape or ()), attribute.dtype
            if not dtype.hasobject:
                refuse_above(self._stored_bytes, count * dtype.itemsize, self._stored_bytes, _ANEW)
            elif h5py.check_string_dtype(dtype) is None:
                raise Unreadable(f"{name} of {item.name} is neither numbers nor text")
            elif count * self._stored_bytes > most:
                refuse_above(most, count * self._longest_bytes, self._stored_bytes, _ANEW)

    @cached_property
    def _longest_bytes(self) -> int:
        """What no text is longer than: the largest heap of those in which HDF5 keeps them."""
        if isinstance(self._source, bytes):
            return max(map(_heap_bytes, _HEAP.finditer(self._source)), default=0)
        with self._source.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return max(map(_heap_bytes, _HEAP.finditer(content)), default=0)


def _heap_bytes(found: re.Match[bytes]) -> int:
    return int.from_bytes(found[1], "little")


def _room(array: h5py.Dataset) -> int:
    """The memory that it takes to read an array: all of it, or one piece where that is larger."""
    numbers = max(math.prod(array.shape or ()), math.prod(array.chunks or ()))
    return numbers * array.dtype.itemsize


def _refuse_swelling(array: h5py.Dataset) -> None:
    """Refuses an array of which a compressed piece is larger than the array says."""
    settings = array.id.get_create_plist()
    filters = [settings.get_filter(place)[0] for place in range(settings.get_nfilters())]
    if not set(filters) <= _KNOWN_FILTERS or len(set(filters)) < len(filters):
        raise Unreadable(f"{array.name} is compressed in another way than by gzip alone")
    if h5py.h5z.FILTER_DEFLATE not in filters:
        return
    piece_bytes = math.prod(array.chunks) * array.dtype.itemsize
    for place in range(array.id.get_num_chunks()):
        offset = array.id.get_chunk_info(place).chunk_offset
        left_out, content = array.id.read_direct_chunk(offset)
        if left_out:
            continue
        if len(zlib.decompressobj().decompress(content, piece_bytes + _CHECKSUM_BYTES + 1)) > (
            piece_bytes + _CHECKSUM_BYTES
        ):
            raise Unreadable(f"a piece of {array.name} is larger than the {piece_bytes} bytes it has")
