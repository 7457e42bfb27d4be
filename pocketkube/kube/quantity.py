"""Kubernetes's quantities, such as 500m or 8Gi, as numbers."""

from fractions import Fraction

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
