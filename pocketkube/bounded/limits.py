"""How large packed data may become, and what is raised where it is larger or damaged."""

from collections.abc import Iterator
from contextlib import contextmanager

from pocketkube.errors import UserError, first_line
from pocketkube.figures import size

# So many bytes may come of anything, however small.
ALWAYS_BYTES = 1 << 27
# Of arrays in which nearly all is zero, so many may come of a small file.
SPARSE_BYTES = 1 << 30
# Of more than that, so many times what is stored. One-hot rows take a three hundredth when they are
# packed by DEFLATE, which makes a thousandth of zeros alone.
EXPANSION = 512
# Read at once.
PIECE_BYTES = 1 << 20


class Unreadable(ValueError):
    """Packed data is damaged, or more than may be expected of it. Its text says why, without a name."""


def most_bytes(stored_bytes: int, expansion: int = EXPANSION, always: int = ALWAYS_BYTES) -> int:
    """How many bytes may come of so many stored ones."""
    return max(always, expansion * stored_bytes)


def refuse_above(
    most: int, unpacked_bytes: int, stored_bytes: int, remedy: str = "store it uncompressed"
) -> None:
    """Refuses what says of itself that it is larger than it may be.

    Args:
        most: How many bytes it may become.
        unpacked_bytes: How many it says that it becomes.
        stored_bytes: How many are stored.
        remedy: What would be right.

    Raises:
        Unreadable: If it is.
    """
    if unpacked_bytes > most:
        raise Unreadable(
            f"it unpacks to {size(unpacked_bytes)} or more; of {size(stored_bytes)} no more than "
            f"{size(most)} are read: if it is to be so large, {remedy}"
        )


@contextmanager
def plain_reasons() -> Iterator[None]:
    """Turns whatever a parser raises on damaged data into `Unreadable`."""
    try:
        yield
    except (Unreadable, UserError, MemoryError):
        raise
    # They raise what they happen to run into: struct.error, TokenError, NotImplementedError, …
    except Exception as error:
        raise Unreadable(first_line(error).rstrip(".")) from error
