"""A cost as a sum of one number for each level and one for each pair of levels of two parameters.

Multiply-adds, parameters and table latencies of layers depend on the channels that come in and those
that go out: two parameters at most, so the sum is exact. Where it is not, it is so wherever at most two
parameters differ from its anchor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pocketkube.search.problem import Problem

# Differences below this part of the whole cost are rounding errors of floats.
NEGLIGIBLE = 1e-9
# Random choices that tell whether the sum is exact.
CHECKED = 48

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class CostTerms:
    """How far choices go beyond the limit, as a sum.

    All levels of all parameters are numbered in a row, so that arrays have one place for each.

    Attributes:
        sizes: How many levels each parameter has, `[parameters]`.
        constant: What is always there.
        single: What each level adds, `[all levels]`.
        double: What two levels of different parameters add together, `[all levels, all levels]`,
            symmetric.
        pairs: The pairs of parameters that interact.
        exact: Whether the sum is what any choice costs.
    """

    sizes: np.ndarray
    constant: float
    single: np.ndarray
    double: np.ndarray
    pairs: Pairs
    exact: bool

    @cached_property
    def owners(self) -> np.ndarray:
        """The parameter of each level, `[all levels]`."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def starts(self) -> np.ndarray:
        """The place of each parameter's first level, `[parameters]`."""
        return np.cumsum(self.sizes) - self.sizes

    def excess(self, choices: np.ndarray) -> np.ndarray:
        """How far choices go beyond the limit, `[choices]`."""
        taken = self.starts + choices
        total = self.constant + self.single[taken].sum(axis=1)
        return total + 0.5 * self.double[taken[:, :, None], taken[:, None]].sum(axis=(1, 2))

    def after_changes(self, choice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far a choice goes beyond the limit after one or two changes.

        Args:
            choice: `[parameters]`.

        Returns:
            The excess after one parameter takes another level, `[all levels]`, and after two take
            theirs, `[all levels, all levels]`, which says nothing for two levels of one parameter.
        """
        taken = self.starts + choice
        at = float(self.excess(choice[None])[0])
        sums = self.single + self.double[:, taken].sum(axis=1)
        current = taken[self.owners]
        one = sums - sums[current]
        rows = self.double - self.double[current]
        both = one[:, None] + one + rows - rows[:, current]
        return at + one, at + both


def interacting(problem: Problem) -> Pairs:
    """The pairs of parameters of which one changes what the other's levels cost."""
    sizes = problem.space.sizes
    count = len(sizes)
    ones, twos = np.triu_indices(count, 1)
    found = np.zeros(len(ones), bool)
    scale = abs(problem.cost(sizes - 1))
    lowest = np.zeros(count, int)
    # Both corners are looked at: what is cut to nothing in one hides what interacts in the other.
    for base, other in ((sizes - 1, lowest), (lowest, sizes - 1)):
        singles = np.tile(base, (count, 1))
        np.fill_diagonal(singles, other)
        both = np.tile(base, (len(ones), 1))
        rows = np.arange(len(ones))
        both[rows, ones], both[rows, twos] = other[ones], other[twos]
        at, alone, together = (problem.excess(each) for each in (base[None], singles, both))
        second = together - alone[ones] - alone[twos] + at
        found |= np.abs(second) > NEGLIGIBLE * max(scale, float(np.abs(at[0])))
    return tuple(zip(ones[found].tolist(), twos[found].tolist(), strict=True))


def cost_terms(problem: Problem, anchor: np.ndarray, pairs: Pairs) -> CostTerms:
    """The sum that is right at an anchor, and wherever at most two parameters differ from it.

    Args:
        problem: The search.
        anchor: A choice, `[parameters]`.
        pairs: The pairs that interact.
    """
    sizes = problem.space.sizes
    starts = np.cumsum(sizes) - sizes
    singles = problem.space.changes(anchor)
    blocks = [singles]
    for one, two in pairs:
        block = np.tile(anchor, (sizes[one] * sizes[two], 1))
        block[:, one] = np.repeat(np.arange(sizes[one]), sizes[two])
        block[:, two] = np.tile(np.arange(sizes[two]), sizes[one])
        blocks.append(block)
    found = problem.excess(np.concatenate(blocks))
    constant = float(found[starts[0] + anchor[0]])
    single = found[: len(singles)] - constant
    double = np.zeros((len(singles), len(singles)))
    start = len(singles)
    for one, two in pairs:
        here = slice(starts[one], starts[one] + sizes[one])
        there = slice(starts[two], starts[two] + sizes[two])
        values = found[start : start + sizes[one] * sizes[two]].reshape(sizes[one], sizes[two])
        start += values.size
        double[here, there] = values - constant - single[here, None] - single[None, there]
        double[there, here] = double[here, there].T
    terms = CostTerms(sizes, constant, single, double, pairs, exact=False)
    return CostTerms(sizes, constant, single, double, pairs, exact=_is_exact(problem, terms))


def summed(losses: Sequence[np.ndarray], choice: np.ndarray) -> float:
    """The sum of a choice's losses."""
    return float(sum(each[level] for each, level in zip(losses, choice, strict=True)))


def _is_exact(problem: Problem, terms: CostTerms) -> bool:
    sizes = problem.space.sizes
    probes = np.random.default_rng(0).integers(0, sizes, (CHECKED, len(sizes)))
    real = problem.excess(probes)
    scale = max(abs(problem.cost(sizes - 1)), float(np.abs(real).max()))
    return bool((np.abs(terms.excess(probes) - real) <= NEGLIGIBLE * scale).all())
