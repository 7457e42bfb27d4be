"""What a packed file's header says of each weight, and how one becomes bytes and is read back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pocketkube.packing.bits import (
    gaps_of,
    kept_of,
    pack_bits,
    packed_size,
    smallest,
    unpack_bits,
)
from pocketkube.packing.forms import Blocks, Codebook, Form, Grid, decode
from pocketkube.packing.huffman import huffman_bits

FLOAT_BYTES = 4


class Entry(BaseModel):
    """A weight as the header describes it.

    Attributes:
        shape: Its shape.
        dtype: The type of its numbers.
        kind: "values": its numbers themselves. "codebook", "grid": those of `Codebook` and `Grid`.
        gaps: Bytes that tell where it is zero, each the zeros before a number; -1: one bit for each
            number instead; None where it has no zeros that are left out.
        bits: Bits of an index or level.
        whole_bytes: Whether each index or level has a byte of its own.
        axes: The axes of its channels.
        bucket_size: Weights of a block, where that is no whole channel.
        zero_points: Whether there are any.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    shape: list[int]
    dtype: str
    kind: Literal["values", "codebook", "grid"] = "values"
    gaps: int | None = Field(None, ge=-1)
    bits: int = Field(0, ge=0, le=8)
    whole_bytes: bool = False
    axes: list[int] = []
    bucket_size: int | None = Field(None, ge=1)
    zero_points: bool = False


@dataclass
class Streams:
    """The content of a packed file by what it is, so that each can be compressed for itself.

    Attributes:
        zeros: Where weights are zero.
        indices: Indices and levels.
        floats: Float32 numbers: codebooks, scales, and weights that are stored as they are.
        others: Numbers of other types.
        huffman_bits: What the first two would take after Huffman coding.
    """

    zeros: bytearray = field(default_factory=bytearray)
    indices: bytearray = field(default_factory=bytearray)
    floats: bytearray = field(default_factory=bytearray)
    others: bytearray = field(default_factory=bytearray)
    huffman_bits: int = 0


def write_entry(weight: np.ndarray, form: Form | None, streams: Streams) -> Entry:
    """Adds a weight to the streams, in the form that takes least.

    Args:
        weight: The weight.
        form: The form that it is known to have.
        streams: Grow by its content.

    Returns:
        What the header is to say of it.

    Raises:
        ValueError: If it is not, bit for bit, what the form stands for.
    """
    if form is not None:
        if weight.shape != _numbers(form).shape or decode(form).tobytes() != weight.tobytes():
            raise ValueError("the weight is not what its form stands for")
        if _form_bits(form) < 8 * weight.nbytes:
            return _write_form(form, streams)
    if weight.dtype == np.float32:
        return _write_floats(weight, streams)
    streams.others += weight.tobytes()
    return Entry(shape=list(weight.shape), dtype=str(weight.dtype))


def read_entry(
    entry: Entry, dtype: np.dtype, streams_in: Mapping[str, Callable[[int], bytes]]
) -> tuple[np.ndarray, Form | None]:
    """Undoes `write_entry`.

    Args:
        entry: What the header says of the weight; its shape is what the model's is.
        dtype: The type of its numbers.
        streams_in: A function for each stream that returns its next bytes, as many as asked for.

    Returns:
        The weight, and its form where it has one.

    Raises:
        ValueError: If the streams do not fit the entry.
    """
    count, shape = int(np.prod(entry.shape)), tuple(entry.shape)
    if dtype != np.float32:
        return np.frombuffer(streams_in["others"](count * dtype.itemsize), dtype).reshape(shape), None
    kept = None if entry.gaps is None else _read_zeros(entry.gaps, count, streams_in["zeros"])
    if entry.kind == "values":
        weight = np.zeros(count, np.float32)
        left = count if kept is None else int(kept.sum())
        weight[slice(None) if kept is None else kept] = _floats(streams_in, left)
        return weight.reshape(shape), None
    form = _read_form(entry, shape, kept, streams_in)
    return decode(form), form


def _numbers(form: Form) -> np.ndarray:
    return form.indices if isinstance(form, Codebook) else form.levels


def _form_bits(form: Form) -> int:
    numbers = _numbers(form)
    if isinstance(form, Codebook):
        floats = form.centroids.size
    else:
        floats = form.scales.size * (1 if form.zero_points is None else 2)
    left = numbers.size if form.kept is None else int(form.kept.sum()) + numbers.size // form.bits
    return left * form.bits + 8 * FLOAT_BYTES * floats


def _write_form(form: Form, streams: Streams) -> Entry:
    numbers = _numbers(form)
    gaps = None if form.kept is None else _write_zeros(form.kept, streams)
    numbers = (numbers if form.kept is None else numbers[form.kept]).ravel()
    if isinstance(form, Codebook):
        streams.floats += form.centroids.astype(np.float32).tobytes()
        whole_bytes = _write_numbers(numbers, form.bits, streams)
    else:
        streams.floats += form.scales.astype(np.float32).tobytes()
        if form.zero_points is not None:
            streams.floats += form.zero_points.astype(np.float32).tobytes()
        whole_bytes = _write_numbers(numbers - form.lowest, form.bits, streams)
    return Entry(
        shape=list(_numbers(form).shape),
        dtype="float32",
        kind="codebook" if isinstance(form, Codebook) else "grid",
        gaps=gaps,
        bits=form.bits,
        whole_bytes=whole_bytes,
        axes=list(form.blocks.axes),
        bucket_size=form.blocks.bucket_size,
        zero_points=isinstance(form, Grid) and form.zero_points is not None,
    )


def _write_numbers(numbers: np.ndarray, bits: int, streams: Streams) -> bool:
    """Adds indices or levels; says whether each has a byte of its own."""
    numbers = numbers.astype(np.uint8)
    # Compression knows symbols best that do not straddle bytes; packed ones are never many bytes.
    name, content = smallest({"packed": pack_bits(numbers, bits), "bytes": numbers.tobytes()})
    streams.indices += content
    streams.huffman_bits += huffman_bits(numbers)
    return name == "bytes"


def _write_zeros(kept: np.ndarray, streams: Streams) -> int:
    """Adds where a weight is zero; gives the entry's `gaps`."""
    gaps = gaps_of(kept)
    name, content = smallest({"gaps": gaps.tobytes(), "bits": np.packbits(kept.ravel()).tobytes()})
    streams.zeros += content
    streams.huffman_bits += min(huffman_bits(gaps), kept.size)
    return len(gaps) if name == "gaps" else -1


def _write_floats(weight: np.ndarray, streams: Streams) -> Entry:
    # A negative zero is not left out: it would come back as another number.
    kept = np.ascontiguousarray(weight).view(np.uint32) != 0
    entry = Entry(shape=list(weight.shape), dtype="float32")
    if (~kept).sum() * FLOAT_BYTES * 8 <= kept.size:
        streams.floats += weight.tobytes()
        return entry
    streams.floats += np.atleast_1d(weight)[kept].tobytes()
    return entry.model_copy(update={"gaps": _write_zeros(kept, streams)})


def _read_zeros(gaps: int, count: int, take: Callable[[int], bytes]) -> np.ndarray:
    if gaps >= 0:
        return kept_of(np.frombuffer(take(gaps), np.uint8), count)
    bits = np.frombuffer(take(packed_size(count, 1)), np.uint8)
    return np.unpackbits(bits, count=count).astype(bool)


def _read_form(
    entry: Entry,
    shape: tuple[int, ...],
    kept: np.ndarray | None,
    streams_in: Mapping[str, Callable[[int], bytes]],
) -> Form:
    if not entry.bits or len(set(entry.axes)) < len(entry.axes):
        raise ValueError("a form has neither bits nor axes twice")
    if any(not 0 <= axis < len(shape) for axis in entry.axes):
        raise ValueError(f"axes {entry.axes} of a weight of shape {shape}")
    blocks = Blocks(tuple(entry.axes), entry.bucket_size)
    count = blocks.count(shape)
    if entry.kind == "codebook":
        centroids = _floats(streams_in, count << entry.bits).reshape(count, -1)
        numbers = _read_numbers(entry, shape, kept, streams_in["indices"])
        return Codebook(entry.bits, centroids, numbers, blocks, _shaped(kept, shape))
    scales = _floats(streams_in, count)
    zero_points = _floats(streams_in, count) if entry.zero_points else None
    numbers = _read_numbers(entry, shape, kept, streams_in["indices"]).astype(np.int16)
    form = Grid(entry.bits, scales, numbers, zero_points, blocks, _shaped(kept, shape))
    numbers += form.lowest
    return form


def _read_numbers(
    entry: Entry, shape: tuple[int, ...], kept: np.ndarray | None, take: Callable[[int], bytes]
) -> np.ndarray:
    """Indices, or levels above the lowest; 0 where the weight is zero."""
    numbers = np.zeros(int(np.prod(shape)), np.uint8)
    count = len(numbers) if kept is None else int(kept.sum())
    if entry.whole_bytes:
        found = np.frombuffer(take(count), np.uint8)
    else:
        found = unpack_bits(take(packed_size(count, entry.bits)), entry.bits, count)
    if count and int(found.max()) >> entry.bits:
        raise ValueError(f"an index of {found.max()} where there are {entry.bits} bits")
    numbers[slice(None) if kept is None else kept] = found
    return numbers.reshape(shape)


def _floats(streams_in: Mapping[str, Callable[[int], bytes]], count: int) -> np.ndarray:
    return np.frombuffer(streams_in["floats"](FLOAT_BYTES * count), np.float32)


def _shaped(kept: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    return None if kept is None else kept.reshape(shape)
