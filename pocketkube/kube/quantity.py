"""Kubernetes's quantities, such as 500m or 8Gi, as numbers."""

from fractions import Fraction

_DECIMAL = ("", "k", "M", "G", "T", "P", "E")
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_UNITS = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{unit: Fraction(1000 ** (i + 1)) for i, unit in enumerate(("k", "M", "G", "T", "P", "E"))},
    **{unit: Fraction(1024 ** (i + 1)) for i, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))},
}


def value_of(quantity: str | int) -> Fraction:
    """The number that a quantity stands for.

    Raises:
        ValueError: If it is none.

    Examples:
        >>> value_of("1500m") == Fraction(3, 2), int(value_of("2Ki"))
        (True, 2048)
    """
    text = str(quantity)
    digits = text.rstrip("numkKMGTPEi")
    return Fraction(digits) * _UNITS[text[len(digits) :]]


def canonical(quantity: str) -> str:
    """A quantity as Kubernetes itself writes it: with the largest unit that leaves a whole number.

    Args:
        quantity: A whole number with a unit of `Quantity`s, or with none.

    Examples:
        >>> canonical("2048Mi"), canonical("1500M"), canonical("1000"), canonical("08Gi")
        ('2Gi', '1500M', '1k', '8Gi')
    """
    digits = quantity.rstrip("numkKMGTPEi")
    number, unit = int(digits), quantity[len(digits) :]
    base, units = (1024, _BINARY) if unit.endswith("i") else (1000, _DECIMAL)
    place = units.index(unit)
    if not number:
        return "0"
    while place + 1 < len(units) and number % base == 0:
        number, place = number // base, place + 1
    return f"{number}{units[place]}"
