"""How large packed data may become, and what is raised where it is larger or damaged."""

from collections.abc import Iterator
from contextlib import contextmanager

from pocketkube.errors import UserError, first_line
from pocketkube.figures import size

# So many bytes may come of anything, however small.
ALWAYS_BYTES = 1 << 27
# Of more than that, so many times what is stored. Arrays of labels come near it; what was made to fill
# the memory is a thousand times as large, or more.
EXPANSION = 100
# Read at once.
PIECE_BYTES = 1 << 20


class Unreadable(ValueError):
    """Packed data is damaged, or more than may be expected of it. Its text says why, without a name."""


def most_bytes(stored_bytes: int, expansion: int = EXPANSION) -> int:
    """How many bytes may come of so many stored ones."""
    return max(ALWAYS_BYTES, expansion * stored_bytes)


def refuse_above(most: int, unpacked_bytes: int, stored_bytes: int) -> None:
    """Refuses what says of itself that it is larger than it may be.

    Raises:
        Unreadable: If it is.
    """
    if unpacked_bytes > most:
        raise Unreadable(
            f"it unpacks to {size(unpacked_bytes)} or more, of {size(stored_bytes)}, as no data does "
            "that was not made to fill the memory; store it uncompressed if it is meant so"
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
