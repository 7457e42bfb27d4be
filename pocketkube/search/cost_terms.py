"""A cost as a sum of one number for each level and one for each pair of levels of two parameters.

Multiply-adds, parameters and table latencies of layers depend on the channels that come in and those
that go out: two parameters at most, so the sum is exact. Where it is not, it is so near its anchor.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pocketkube.search.problem import Problem

# Differences below this part of the whole cost are rounding errors of floats.
NEGLIGIBLE = 1e-9
# Random choices that tell whether the sum is exact.
CHECKED = 48


@dataclass(frozen=True)
class CostTerms:
    """What choices go beyond the limit, as a sum.

    Attributes:
        constant: At the anchor.
        single: What each level of each parameter adds, `[levels]` for each parameter.
        pairs: What two levels add together, `[levels of one, levels of the other]`, by the numbers of
            two parameters that interact.
        exact: Whether the sum is what any choice costs.
    """

    constant: float
    single: tuple[np.ndarray, ...]
    pairs: dict[tuple[int, int], np.ndarray]
    exact: bool

    def excess(self, choices: np.ndarray) -> np.ndarray:
        """How far choices go beyond the limit, `[choices]`."""
        total = np.full(len(choices), self.constant)
        for place, values in enumerate(self.single):
            total = total + values[choices[:, place]]
        for (one, two), values in self.pairs.items():
            total = total + values[choices[:, one], choices[:, two]]
        return total


def interacting(problem: Problem) -> tuple[tuple[int, int], ...]:
    """The pairs of parameters of which one changes what the other's levels cost."""
    sizes = problem.space.sizes
    count = len(sizes)
    pairs = [(a, b) for a, b in combinations(range(count), 2) if sizes[a] > 1 and sizes[b] > 1]
    if not pairs:
        return ()
    places = np.array(pairs)
    found = np.zeros(len(pairs), bool)
    scale = abs(problem.cost(sizes - 1))
    # Both corners are looked at: what is cut to nothing in one hides what interacts in the other.
    for base, other in ((sizes - 1, np.zeros(count, int)), (np.zeros(count, int), sizes - 1)):
        singles = np.tile(base, (count, 1))
        np.fill_diagonal(singles, other)
        both = np.tile(base, (len(pairs), 1))
        rows = np.arange(len(pairs))
        both[rows, places[:, 0]] = other[places[:, 0]]
        both[rows, places[:, 1]] = other[places[:, 1]]
        at, alone, together = (problem.excess(each) for each in (base[None], singles, both))
        second = together - alone[places[:, 0]] - alone[places[:, 1]] + at
        found |= np.abs(second) > NEGLIGIBLE * max(scale, float(np.abs(at[0])))
    return tuple(pair for pair, interacts in zip(pairs, found, strict=True) if interacts)


def cost_terms(problem: Problem, anchor: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> CostTerms:
    """The sum that is right at an anchor, and wherever at most two parameters differ from it.

    Args:
        problem: The search.
        anchor: A choice, `[parameters]`.
        pairs: The pairs that interact.
    """
    sizes = problem.space.sizes
    asked = [anchor]
    for place, size in enumerate(sizes):
        asked += [_with(anchor, {place: level}) for level in range(size)]
    for one, two in pairs:
        asked += [_with(anchor, {one: a, two: b}) for a in range(sizes[one]) for b in range(sizes[two])]
    found = problem.excess(np.array(asked))
    constant = float(found[0])
    single: list[np.ndarray] = []
    start = 1
    for size in sizes:
        single.append(found[start : start + size] - constant)
        start += size
    both = {}
    for one, two in pairs:
        values = found[start : start + sizes[one] * sizes[two]].reshape(sizes[one], sizes[two])
        both[one, two] = values - constant - single[one][:, None] - single[two][None]
        start += sizes[one] * sizes[two]
    terms = CostTerms(constant, tuple(single), both, False)
    probes = np.random.default_rng(0).integers(0, sizes, (CHECKED, len(sizes)))
    real = problem.excess(probes)
    scale = max(abs(problem.cost(sizes - 1)), float(np.abs(real).max()))
    exact = bool((np.abs(terms.excess(probes) - real) <= NEGLIGIBLE * scale).all())
    return CostTerms(constant, tuple(single), both, exact)


def _with(choice: np.ndarray, levels: dict[int, int]) -> np.ndarray:
    changed = choice.copy()
    for place, level in levels.items():
        changed[place] = level
    return changed
