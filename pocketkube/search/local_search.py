"""Improves a choice under the limit by changing one or two parameters at a time."""

from collections.abc import Sequence, Set

import numpy as np

from pocketkube.search.cost_terms import CostTerms, cost_terms
from pocketkube.search.problem import Problem

# Steps for each parameter, after which it ends in any case.
STEPS = 6
# Gains below this are rounding errors.
NEGLIGIBLE = 1e-12
# So many of the most promising changes are priced by the real cost.
PRICED = 64


def local_search(
    problem: Problem, losses: Sequence[np.ndarray], choice: np.ndarray, terms: CostTerms
) -> np.ndarray:
    """The best of all choices with one or two other levels, again and again until none is better.

    Args:
        problem: The search.
        losses: Loss of each parameter at each of its levels.
        choice: One within the limit, `[parameters]`.
        terms: The limit's cost as a sum, about any choice where it is exact.

    Returns:
        A choice within the limit, `[parameters]`.
    """
    for _ in range(STEPS * len(choice)):
        found = _best_change(problem, losses, choice, terms, frozenset(), only_better=True)
        if found is None:
            break
        choice = found
    return choice


def next_best(
    problem: Problem,
    losses: Sequence[np.ndarray],
    choice: np.ndarray,
    terms: CostTerms,
    tried: Set[tuple[int, ...]],
) -> np.ndarray | None:
    """The best choice with one or two other levels that was not tried, better or not.

    Args:
        problem: The search.
        losses: Loss of each parameter at each of its levels.
        choice: One within the limit, `[parameters]`.
        terms: The limit's cost as a sum, about any choice where it is exact.
        tried: What must not come again.

    Returns:
        A choice within the limit; None where there is none.
    """
    return _best_change(problem, losses, choice, terms, tried, only_better=False)


def _best_change(
    problem: Problem,
    losses: Sequence[np.ndarray],
    choice: np.ndarray,
    terms: CostTerms,
    tried: Set[tuple[int, ...]],
    *,
    only_better: bool,
) -> np.ndarray | None:
    if not terms.exact:
        terms = cost_terms(problem, choice, terms.pairs)
    owners, taken = terms.owners, terms.starts + choice
    loss = np.concatenate(losses)
    gain = loss[taken][owners] - loss
    # A dearer level goes before a cheaper one that loses as much.
    level = np.arange(len(owners)) - terms.starts[owners]
    gain = gain + NEGLIGIBLE * (level - choice[owners])
    _, both_excess = terms.after_changes(choice)
    # One change is two of which the other stays as it is.
    gains = gain[:, None] + gain
    allowed = (both_excess <= 0) & (owners[:, None] < owners)
    stays = np.zeros(len(owners), bool)
    stays[taken] = True
    allowed &= ~(stays[:, None] & stays)
    if only_better:
        allowed &= gains > NEGLIGIBLE / 2
    if len(choice) == 1:
        return _single_change(problem, gain, choice, tried, only_better=only_better)
    places = np.flatnonzero(allowed)
    keep = PRICED + 4 * len(tried) * (not only_better)
    if len(places) > keep:
        places = places[np.argpartition(-gains.ravel()[places], keep)[:keep]]
    order = places[np.argsort(-gains.ravel()[places], kind="stable")]
    for place in order:
        one, two = divmod(int(place), len(owners))
        changed = choice.copy()
        changed[owners[one]], changed[owners[two]] = level[one], level[two]
        # The sum is a float: what it says to be just within the limit may be beyond it.
        if tuple(changed.tolist()) not in tried and problem.cost(changed) <= problem.limit.most:
            return changed
    return None


def _single_change(
    problem: Problem,
    gain: np.ndarray,
    choice: np.ndarray,
    tried: Set[tuple[int, ...]],
    *,
    only_better: bool,
) -> np.ndarray | None:
    for level in np.argsort(-gain, kind="stable"):
        changed = np.array([level])
        better = gain[level] > NEGLIGIBLE / 2 or not only_better
        new = level != choice[0] and (int(level),) not in tried
        if better and new and problem.cost(changed) <= problem.limit.most:
            return changed
    return None
