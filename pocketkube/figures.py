"""How figures are written for people: counts, sizes, times and ratios, everywhere the same."""

from typing import Literal, NamedTuple


class Words(NamedTuple):
    """What a figure that fell, and one that rose, is called."""

    fallen: str
    risen: str


COST = Words("less", "more")
NUMBER = Words("fewer", "more")
SIZE = Words("smaller", "larger")
TIME = Words("faster", "slower")
SAME = "the same"
# Of larger numbers, three digits and an exponent are written: nobody reads the others.
MOST_WRITTEN_OUT = 1e4


def count(value: float) -> str:
    """A large number, to three digits: 40.8 M."""
    shown = float(f"{value:.3g}")
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        # As it is shown: what rounds up to a thousand is one of the next unit.
        if abs(shown) >= unit:
            return f"{shown / unit:.3g}{name}"
    return f"{shown:.3g}"


def size(value: float) -> str:
    """A number of bytes: 276 kB."""
    return f"{count(value)}B" if value >= 1e3 else f"{value:.0f} B"


def milliseconds(value: float) -> str:
    """A time, to three digits: 0.820 ms."""
    return f"{_three_digits(value)} ms"


def milliseconds_between(low: float, high: float) -> str:
    """An interval of times: 0.810 to 0.835 ms."""
    return f"{_three_digits(low)} to {_three_digits(high)} ms"


def ratio(before: float, after: float, words: Words = COST) -> str:
    """How two figures compare: 2.51x less, 1.07x more; never a number below 1.

    Args:
        before: The baseline's figure, above 0.
        after: The result's, above 0.
        words: What a figure that fell, and one that rose, is called.
    """
    return ratio_words(before / after, words)


def ratio_words(before_over_after: float, words: Words = COST) -> str:
    """The same of a ratio that is known: 2.51x less for 2.51, 1.07x more for 0.9346."""
    fallen = before_over_after >= 1
    times = hundredths(before_over_after if fallen else 1 / before_over_after)
    return SAME if times == "1.00" else f"{times}x {words.fallen if fallen else words.risen}"


def hundredths(value: float, sign: Literal["+", "-"] = "-") -> str:
    """A number with two places: 2.51; three digits of one that has diverged: 7.59e+30.

    Args:
        value: The number.
        sign: "+" to write the sign of numbers above 0, too.
    """
    places = f"{value:{sign}.2f}"
    return places if abs(float(places)) < MOST_WRITTEN_OUT else f"{value:{sign}.2e}"


def bounded(shown: str, bound: str = "exact") -> str:
    """A figure with the words that say how sure it is: at most 2.06x fewer."""
    return shown if bound == "exact" else f"{bound} {shown}"


def ratio_between(low: float, high: float, words: Words = COST) -> str:
    """An interval of ratios, the lower first: 1.93x to 1.99x faster; 1.02x slower to 1.03x faster."""
    one, other = ratio_words(low, words), ratio_words(high, words)
    if one == other:
        return one
    # The word once, where it is the same, and the smaller number first.
    if high < 1:
        one, other = other, one
    number, _, word = one.partition(" ")
    return f"{number} to {other}" if other.endswith(word) and one != SAME else f"{one} to {other}"


def _three_digits(value: float) -> str:
    """Without an exponent, and without a full stop that nothing follows."""
    return f"{value:#.3g}".rstrip(".") if abs(float(f"{value:.3g}")) < 1000 else f"{value:.0f}"
