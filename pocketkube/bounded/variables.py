"""Ends the building of models that have no place in their files."""

from collections.abc import Iterator
from contextlib import contextmanager

from pocketkube.bounded.limits import ALWAYS_BYTES, Unreadable
from pocketkube.keras_private import telling_of_variables

# A weight itself, and what an optimizer keeps of it.
_NUMBERS_OF_TRAINING = 4


@contextmanager
def room_for(numbers: int) -> Iterator[None]:
    """Ends the building of a model that has more numbers than its file has for it.

    Args:
        numbers: How many numbers the file holds.

    Raises:
        Unreadable: If the model has more, with those that training needs.
    """
    left = numbers * _NUMBERS_OF_TRAINING + ALWAYS_BYTES // 4

    def take(count: int) -> None:
        nonlocal left
        left -= count
        if left < 0:
            raise _Full

    try:
        with telling_of_variables(take):
            yield
    except _Full:
        raise Unreadable(
            f"its layers have many more numbers than the {numbers} that it holds for them"
        ) from None


class _Full(BaseException):
    """Nobody who handles exceptions is to handle it on its way."""
