"""Small numbers and the places of zeros as bytes, each in the way that compresses best."""

import zlib
from collections.abc import Mapping

import numpy as np

GAP_LIMIT = 255


def smallest(candidates: Mapping[str, bytes]) -> tuple[str, bytes]:
    """The candidate that is smallest after compression, and its name; the first of equals."""
    return min(candidates.items(), key=lambda item: len(zlib.compress(item[1], 9)))


def pack_bits(numbers: np.ndarray, bits: int) -> bytes:
    """Numbers below 2^bits, one after the other without a gap, lowest bit first."""
    places = np.arange(bits, dtype=np.uint8)
    spread = (numbers.astype(np.uint8).ravel()[:, None] >> places) & 1
    return np.packbits(spread.ravel(), bitorder="little").tobytes()


def unpack_bits(content: bytes, bits: int, count: int) -> np.ndarray:
    """The `count` numbers that `pack_bits` put into `packed_size(count, bits)` bytes, uint8."""
    spread = np.unpackbits(np.frombuffer(content, np.uint8), count=count * bits, bitorder="little")
    weights = (1 << np.arange(bits)).astype(np.uint8)
    return (spread.reshape(count, bits) * weights).sum(axis=1, dtype=np.uint8)


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` numbers of so many bits take."""
    return -(-count * bits // 8)


def gaps_of(kept: np.ndarray) -> np.ndarray:
    """How many zeros precede each number that is none, uint8.

    A gap of 255 or more is written as 255, which means "so many zeros, and the gap goes on"; zeros
    after the last number are left out.
    """
    gaps = np.diff(np.flatnonzero(kept.ravel()), prepend=-1) - 1
    whole, rest = np.divmod(gaps, GAP_LIMIT)
    written = np.full(int(whole.sum()) + len(gaps), GAP_LIMIT, np.uint8)
    written[np.cumsum(whole + 1) - 1] = rest
    return written


def kept_of(gaps: np.ndarray, count: int) -> np.ndarray:
    """Undoes `gaps_of` for a weight of `count` numbers: False where it is zero.

    Raises:
        ValueError: If the gaps lead past the end.
    """
    ends = gaps < GAP_LIMIT
    places = (np.cumsum(gaps, dtype=np.int64) + np.cumsum(ends) - 1)[ends]
    if len(places) and places[-1] >= count:
        raise ValueError(f"the gaps lead to {places[-1]} of {count} numbers")
    kept = np.zeros(count, bool)
    kept[places] = True
    return kept
