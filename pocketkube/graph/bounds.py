"""How sure a figure is where the multiply-adds of some layers are not known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pocketkube.figures import NUMBER, bounded, ratio_words

Bound = Literal["exact", "at least", "at most", "about"]


@dataclass(frozen=True)
class Speedup:
    """How many times fewer multiply-adds one model takes than another.

    Attributes:
        value: The ratio of what is counted.
        bound: What the true ratio is, compared to it; "about" where it may be more or less.
    """

    value: float
    bound: Bound

    def reaches(self, asked: float) -> bool:
        """Whether the true ratio is certain to be `asked` or more."""
        return self.value >= asked and self.bound in ("exact", "at least")

    @property
    def change(self) -> str:
        """How multiply-adds compare: 2.50x fewer, or a bound where not all are known."""
        bound = self.bound
        if self.value < 1:
            # Told by how many times more there are: at least 0.50x fewer is at most 2.00x more.
            turned: dict[Bound, Bound] = {"at least": "at most", "at most": "at least"}
            bound = turned.get(bound, bound)
        return bounded(ratio_words(self.value, NUMBER), bound)

    def __str__(self) -> str:
        return bounded(f"{self.value:.2f}x", self.bound)


def macs_bound(unknown: Sequence[str]) -> Bound:
    """What the multiply-adds of a model are, compared to what is counted.

    Args:
        unknown: Layers that may multiply what is not counted.
    """
    return "at least" if unknown else "exact"


def compare_macs(
    before: float, unknown_before: Sequence[str], after: float, unknown_after: Sequence[str]
) -> Speedup:
    """The ratio of two models' multiply-adds.

    Args:
        before: What is counted of the larger one.
        unknown_before: Its layers that may multiply what is not counted.
        after: What is counted of the smaller one.
        unknown_after: Its layers that may multiply what is not counted.
    """
    value = max(before, 1) / max(after, 1)
    if not unknown_after:
        return Speedup(value, "at least" if unknown_before else "exact")
    if not unknown_before:
        return Speedup(value, "at most")
    if list(unknown_before) != list(unknown_after):
        return Speedup(value, "about")
    # The same is missing on both sides: whatever it is, it brings the ratio nearer to 1.
    return Speedup(value, "at most" if value > 1 else "at least")


def uncounted_note(unknown: Sequence[str]) -> str:
    """One sentence for the user about layers whose multiply-adds are not known."""
    return f"Not all multiply-adds are known, and none of the unknown counted: {', '.join(unknown)}."
