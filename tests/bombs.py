"""Files of a few kilobytes or megabytes that unpack to gigabytes, made in no time."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

MIB = 1 << 20


def deflated(size_bytes: int, begin: bytes = b"", byte: bytes = b"\0") -> bytes:
    """A raw deflate stream of `begin` and then one byte again and again, some `size_bytes` in all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(begin) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush a block stands for itself, so that it can be repeated.
    block = packer.compress(byte * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * (size_bytes // MIB) + packer.flush()


def gzipped(size_bytes: int, begin: bytes = b"") -> bytes:
    """The same as a gzip file; its checksum, which stands at its end, is wrong."""
    return gzip.compress(b"")[:10] + deflated(size_bytes, begin) + bytes(8)


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    """An honest archive, uncompressed as Keras and NumPy write it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_packed_member(path: Path, name: str, stream: bytes, size_bytes: int, method: int = 8) -> Path:
    """Adds a member to a zip archive, or replaces it, by a compressed stream as it is.

    Args:
        path: The archive; made where there is none.
        name: The member.
        stream: Its compressed bytes.
        size_bytes: What the archive says that these are when unpacked.
        method: The number of the compression; 8 is deflate.
    """
    members = {}
    if path.exists():
        with zipfile.ZipFile(path) as archive:
            members = {each: archive.read(each) for each in archive.namelist() if each != name}
    zipped(path, members)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo(name)
        archive.writestr(info, stream)
        # The directory at the end is what readers believe; beside the sizes it is as it was written.
        info.compress_type, info.file_size, info.compress_size = method, size_bytes, len(stream)
    content = bytearray(path.read_bytes())
    where = content.index(b"PK\3\4", info.header_offset)
    struct.pack_into("<H", content, where + 8, method)
    path.write_bytes(content)
    return path


def packed_by_lzma(size_bytes: int) -> bytes:
    """Zeros as a zip archive's LZMA has them, a thousandth of what deflate takes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("zeros", bytes(size_bytes))
        info = archive.getinfo("zeros")
    start = info.header_offset + 30 + len("zeros")
    return content.getvalue()[start : start + info.compress_size]


def npy_header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    """The beginning of an array's file."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def tar_member(name: str, size_bytes: int) -> bytes:
    """The header of a tar archive's member."""
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    return info.tobuf()


def in_each_packing(content: bytes) -> dict[str, bytes]:
    """Content as the programs pack it that tar archives are packed by."""
    return {
        "gz": gzip.compress(content, 1),
        "bz2": bz2.compress(content, 1),
        "xz": lzma.compress(content, preset=0),
    }
