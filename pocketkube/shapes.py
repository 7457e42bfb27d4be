"""Whether shapes of examples are those that are wanted."""

from collections.abc import Sequence

from pocketkube.errors import UserError

Shape = tuple[int | None, ...]


def shape_fits(given: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    """Whether a shape is the wanted one, whose axes that are None take any size."""
    return len(given) == len(wanted) and all(b in (None, a) for a, b in zip(given, wanted, strict=True))


def shapes_fit(given: Sequence[Shape], wanted: Sequence[Shape]) -> bool:
    """Whether there are as many shapes as are wanted, and each fits."""
    return len(given) == len(wanted) and all(map(shape_fits, given, wanted))


def refuse_other_shapes(
    origin: str, given: Sequence[Shape], model: str, wanted: Sequence[Shape], remedy: str = ""
) -> None:
    """Says when examples are not what a model takes; the one check of shapes before anything is done.

    Args:
        origin: What messages call the examples.
        given: The shape of one example of each input.
        model: What messages call the model.
        wanted: The same as the model takes them, None for any size.
        remedy: What would be right, as in "set dataset.image_size".

    Raises:
        UserError: If their number or a shape is another one.
    """
    if not shapes_fit(given, wanted):
        raise UserError(
            f"{origin}: {model} takes inputs of the shapes {_shown(wanted)} an example; received "
            f"{_shown(given)}{f': {remedy}' if remedy else ''}."
        )


def _shown(shapes: Sequence[Shape]) -> str:
    return str([tuple(shape) for shape in shapes])
