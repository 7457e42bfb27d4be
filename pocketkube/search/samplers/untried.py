"""Finds a choice near one that was tried already."""

from collections.abc import Set

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.projection import project, project_choice
from pocketkube.search.samplers.history import Choice

# So many points around a choice are tried, farther and farther away.
ATTEMPTS = 96
# Spaces up to this size are looked through altogether.
SMALL_SPACE = 4096


def untried(problem: Problem, wanted: Choice, tried: Set[Choice], rng: np.random.Generator) -> Choice:
    """The choice that is wanted, or one near it that was not tried yet, within the budget.

    Args:
        problem: The search.
        wanted: Any choice; one beyond the budget is projected onto it.
        tried: What must not come again, if there is anything else.
        rng: Decides between neighbours.

    Returns:
        `wanted` itself where all that is within the budget was tried, or nothing is.
    """
    if wanted not in tried and problem.cost(wanted) <= problem.limit.most:
        return wanted
    found = project_choice(problem, wanted)
    if found.choice not in tried or not found.fits:
        return found.choice
    point = problem.space.point(np.array(found.choice))
    for attempt in range(ATTEMPTS):
        moved = _moved(problem, point, 0.02 + 0.5 * attempt / ATTEMPTS, rng)
        other = project(problem, moved)
        if other.fits and other.choice not in tried:
            return other.choice
    if float(np.prod(problem.space.sizes, dtype=float)) <= SMALL_SPACE:
        return _in_small_space(problem, found.choice, tried)
    return _below(problem, found.choice, tried)


def _moved(
    problem: Problem, point: np.ndarray, distance: float, rng: np.random.Generator
) -> np.ndarray:
    """A point where a few coordinates moved, each by a level at least."""
    parameters = len(point)
    few = rng.choice(parameters, size=int(rng.integers(1, min(parameters, 4) + 1)), replace=False)
    moved = point.copy()
    level = 1.0 / np.maximum(problem.space.sizes[few] - 1, 1)
    moved[few] += rng.choice([-1.0, 1.0], size=len(few)) * np.maximum(
        level, distance * np.abs(rng.normal(size=len(few)))
    )
    return moved


def _in_small_space(problem: Problem, near: Choice, tried: Set[Choice]) -> Choice:
    """The nearest of all choices within the budget."""
    sizes = problem.space.sizes
    every = np.stack(np.unravel_index(np.arange(int(sizes.prod())), tuple(sizes)), axis=1)
    every = every[problem.costs(every) <= problem.limit.most]
    distances = np.abs(problem.space.point(every) - problem.space.point(np.array(near))).sum(axis=1)
    for place in np.argsort(distances, kind="stable"):
        choice = tuple(every[place].tolist())
        if choice not in tried:
            return choice
    return near


def _below(problem: Problem, near: Choice, tried: Set[Choice]) -> Choice:
    """The first choice within the budget that gives up a level or more of one parameter."""
    for depth in range(1, max(near) + 1):
        for place, level in enumerate(near):
            choice = (*near[:place], level - depth, *near[place + 1 :])
            # Of a latency a lower level may cost more.
            is_new = level >= depth and choice not in tried
            if is_new and problem.cost(choice) <= problem.limit.most:
                return choice
    return near
