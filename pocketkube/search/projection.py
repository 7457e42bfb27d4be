"""Takes any point of the unit box to a choice that keeps to the budget."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocketkube.search.problem import Problem

# So many choices of a row that ever grows dearer are priced at once to find the last that is within the
# limit: two rounds find it among some hundreds.
PROBES = 24


@dataclass(frozen=True)
class Projected:
    """A choice, and whether it is within the budget.

    Attributes:
        choice: The level of each parameter.
        cost: What it costs, in the limit's unit.
        fits: Whether that is no more than the limit; where it is not, nothing costs less.
    """

    choice: tuple[int, ...]
    cost: float
    fits: bool


def project(problem: Problem, point: np.ndarray) -> Projected:
    """The choice under the limit that belongs to a point of the unit box.

    All coordinates are moved by the same amount, up or down, each as far as its box, until the limit is
    just held. What levels leave over is then spent on single levels, in the order in which a further
    move would have reached them, until none of them fits any more: that is how near it comes to the
    limit. Where even the cheapest levels of all cost too much, they are the answer, and it says so.

    It promises, for every point:

    - The answer is within the limit, or all levels are the cheapest.
    - No parameter can have its next level without going beyond the limit.
    - The choice that it gives, it gives again for that choice's own point.
    - A choice nearest to the point that is within the limit is kept: no parameter gets less.
    - A higher limit never gives a choice that costs less, where the cost is monotone
      (`Problem.is_monotone`).

    Args:
        problem: The search.
        point: `[parameters]`; beyond the box counts as its edge, and what is no number as its middle.
    """
    space, most = problem.space, problem.limit.most
    point = np.clip(np.nan_to_num(np.asarray(point, float), nan=0.5, posinf=1.0, neginf=0.0), 0.0, 1.0)
    owners, starts_at = _order(space.sizes, point)
    lowest = problem.cost(problem.cheapest)
    if lowest > most and problem.is_monotone:
        return Projected(problem.cheapest, lowest, False)
    if problem.is_monotone:
        taken = _last_within(problem, owners)
    else:
        taken = _nearest_within(problem, owners, int(np.searchsorted(starts_at, 0.0)))
    if taken < 0:
        return Projected(problem.cheapest, lowest, lowest <= most)
    choice = np.bincount(owners[:taken], minlength=len(space.sizes))
    choice, cost = _fill(problem, choice, owners[taken:])
    return Projected(tuple(choice.tolist()), cost, True)


def project_choice(problem: Problem, choice: Sequence[int] | np.ndarray) -> Projected:
    """The choice under the limit that belongs to a choice that may be beyond or below it.

    Args:
        problem: The search.
        choice: `[parameters]`.
    """
    return project(problem, problem.space.point(np.asarray(choice, int)))


def _order(sizes: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In which order parameters gain a level, while all coordinates rise from the lowest on.

    Returns:
        The parameter that gains one, and how far the point has moved then; `[sum of all levels but the
        cheapest]`.
    """
    gained = sizes - 1
    owners = np.repeat(np.arange(len(sizes)), gained)
    first = np.repeat(np.cumsum(gained) - gained, gained)
    level = np.arange(len(owners)) - first
    # What differs by a rounding error only is equal, and goes by the parameters' order.
    moved = np.round((level + 0.5) / gained[owners] - point[owners], 9)
    order = np.argsort(moved, kind="stable")
    return owners[order], moved[order]


def _prefixes(owners: np.ndarray, lengths: np.ndarray, parameters: int) -> np.ndarray:
    """The choices after so many gains, `[lengths, parameters]`."""
    return np.stack([np.bincount(owners[:length], minlength=parameters) for length in lengths])


def _last_within(problem: Problem, owners: np.ndarray) -> int:
    """After how many gains the limit is still held, of a monotone cost; none is known to hold it."""
    low, high = 0, len(owners) + 1
    while high - low > 1:
        probes = np.unique(np.linspace(low, high, PROBES + 2).astype(int)[1:-1])
        probes = probes[(probes > low) & (probes < high)]
        costs = problem.costs(_prefixes(owners, probes, len(problem.space.sizes)))
        within = int((costs <= problem.limit.most).sum())
        low, high = (
            int(probes[within - 1]) if within else low,
            int(probes[within]) if within < len(probes) else high,
        )
    return low


def _nearest_within(problem: Problem, owners: np.ndarray, start: int) -> int:
    """The same for a cost that may go up and down: from the point's own choice on, up or down.

    Returns:
        After how many gains; -1 where none holds the limit.
    """
    choices = _prefixes(owners, np.arange(len(owners) + 1), len(problem.space.sizes))
    within = problem.costs(choices) <= problem.limit.most
    if within[start]:
        beyond = np.flatnonzero(~within[start:])
        return start + int(beyond[0]) - 1 if len(beyond) else len(owners)
    below = np.flatnonzero(within[:start])
    return int(below[-1]) if len(below) else -1


def _fill(problem: Problem, choice: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, float]:
    """Single gains, in an order, as long as one is within the limit.

    Returns:
        The choice and its cost.
    """
    most, step = problem.limit.most, np.eye(len(choice), dtype=int)
    cost, waiting = problem.cost(choice), owners
    while len(waiting):
        able = np.zeros(len(choice), bool)
        able[waiting] = True
        places = np.flatnonzero(able)
        costs = problem.costs(choice + step[places])
        fits = np.zeros(len(choice), bool)
        fits[places[costs <= most]] = True
        if not fits.any():
            break
        if problem.is_monotone:
            # What does not fit now will not fit later.
            waiting = waiting[fits[waiting]]
        first = int(fits[waiting].argmax())
        gained, taken = waiting[first : first + PROBES], 1
        choices = choice + np.cumsum(step[gained], axis=0)
        if first:
            # What waits before it may fit then.
            cost = float(costs[np.searchsorted(places, gained[0])])
        else:
            # Those that follow it for as long as they fit, too.
            costs = problem.costs(choices)
            beyond = np.flatnonzero(costs > most)
            taken = int(beyond[0]) if len(beyond) else len(gained)
            cost = float(costs[taken - 1])
        choice = choices[taken - 1]
        waiting = np.concatenate([waiting[:first], waiting[first + taken :]])
    return choice, cost
