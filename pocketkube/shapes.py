"""Whether shapes of examples are those that are wanted."""

from collections.abc import Sequence

Shape = tuple[int | None, ...]


def shape_fits(given: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    """Whether a shape is the wanted one, whose axes that are None take any size."""
    return len(given) == len(wanted) and all(b in (None, a) for a, b in zip(given, wanted, strict=True))


def shapes_fit(given: Sequence[Shape], wanted: Sequence[Shape]) -> bool:
    """Whether there are as many shapes as are wanted, and each fits."""
    return len(given) == len(wanted) and all(map(shape_fits, given, wanted))
