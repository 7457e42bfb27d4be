"""Whether shapes of examples are those that are wanted."""

from collections.abc import Sequence
from math import prod

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
        remedy: What would be right where more is wrong than how the numbers of an example stand, or
            the channels of an image, as in "resize x".

    Raises:
        UserError: If their number or a shape is another one.
    """
    if not shapes_fit(given, wanted):
        remedy = _rearranged(given, wanted) or remedy
        raise UserError(
            f"{origin}: {model} takes inputs of the shapes {_shown(wanted)} an example; received "
            f"{_shown(given)}{f': {remedy}' if remedy else ''}."
        )


def _rearranged(given: Sequence[Shape], wanted: Sequence[Shape]) -> str:
    """How to bring arrays to the wanted shapes where nothing but their axes is wrong; else empty."""
    if len(given) != len(wanted):
        return ""
    pairs = [pair for pair in zip(given, wanted, strict=True) if not shape_fits(*pair)]
    found = list(dict.fromkeys(_rearrangement(tuple(a), tuple(b)) for a, b in pairs))
    return "; ".join(found) if all(found) else ""


def _rearrangement(given: Shape, wanted: Shape) -> str:
    if len(given) > 2 and shape_fits((*given[1:], given[0]), wanted):
        axes = ", ".join(map(str, (0, *range(2, len(given) + 1), 1)))
        return f"the channels come first; bring them last by x.transpose({axes})"
    if shape_fits((*given, 1), wanted):
        return "the last axis, of the channel, is missing; add it by x[..., None]"
    if given[-1:] == (1,) and shape_fits(given[:-1], wanted):
        return "leave the last axis out by x[..., 0]"
    have, want = ([size for size in shape if size is not None] for shape in (given, wanted))
    if len(have) + len(want) == len(given) + len(wanted) and prod(have) == prod(want):
        shape = ", ".join(map(str, (-1, *wanted)))
        return f"there are as many numbers; arrange them by x.reshape({shape})"
    return other_channels(given, wanted) if shape_fits(given[:-1], wanted[:-1]) else ""


def other_channels(given: Shape, wanted: Shape) -> str:
    """How to bring images to the wanted number of channels; empty where they have it, or none is known.

    Args:
        given: Height, width and channels.
        wanted: The same; None for any size.
    """
    if len(given) != 3 or len(wanted) != 3 or shape_fits(given[-1:], wanted[-1:]):
        return ""
    to_gray, to_rgb = "save images as gray PNG or JPEG", "save images as RGB"
    # A mean of bytes is of floats, which are no 8-bit images any more, scaled to 0…1.
    files, array = {
        (3, 1): (to_gray, "x.mean(-1, keepdims=True).astype(x.dtype)"),
        (4, 1): (to_gray, "x[..., :3].mean(-1, keepdims=True).astype(x.dtype)"),
        (1, 3): (to_rgb, "x.repeat(3, -1)"),
        (4, 3): (to_rgb, "x[..., :3]"),
    }.get((given[-1] or 0, wanted[-1] or 0), ("", ""))
    return f"the number of channels differs; {files}, change an array by {array}" if files else ""


def _shown(shapes: Sequence[Shape]) -> str:
    return str([tuple(shape) for shape in shapes])
