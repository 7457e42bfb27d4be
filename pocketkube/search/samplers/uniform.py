"""What one would set by hand: the same value everywhere, and simple shapes over the depth."""

import numpy as np

from pocketkube.search.front import at_trial
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.samplers.asking import ProposingSampler
from pocketkube.search.samplers.history import Choice, History

# Strength of a shape: how much more the most favoured parameter gets, in parts of its range.
STRENGTHS = (0.25, 0.5, 0.75)
# Values that are tried, from the lowest to the highest.
FINENESS = 512


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    """The same value for all parameters of a kind, as the budget has it; a baseline.

    Later trials give more to the late, the early, the middle or the outer layers, or to what costs
    little, in three strengths; then, parameters move a little at random. On a front there is one even
    trial for each budget.
    """
    if problem.front is not None:
        return _even(at_trial(problem, past.count))
    even = _even(problem)
    if not past.count:
        return even
    point = problem.space.point(np.array(even))
    shapes = [strength * shape for strength in STRENGTHS for shape in _shapes(problem)]
    if past.count <= len(shapes):
        return project(problem, point + shapes[past.count - 1]).choice
    return project(problem, point + rng.normal(0, 0.15, len(point))).choice


def _even(problem: Problem) -> Choice:
    """The highest value for all, within the budget; the lowest where there is none.

    Parameters of different kinds are at the same part of the way from their kind's lowest value to its
    highest.
    """
    parameters = problem.space.parameters
    way = np.linspace(0, 1, FINENESS)
    columns = []
    for each in parameters:
        alike = np.array([level for p in parameters if p.decides == each.decides for level in p.levels])
        lowest, highest = alike.min(), alike.max()
        if each.decides == "sparsity":
            lowest, highest = highest, lowest
        values = lowest + way * (highest - lowest)
        columns.append(np.abs(np.array(each.levels) - values[:, None]).argmin(axis=1))
    choices = np.unique(np.stack(columns, axis=1), axis=0)
    choices = choices[np.lexsort((choices.sum(axis=1),))]
    within = np.flatnonzero(problem.costs(choices) <= problem.limit.most)
    return tuple(choices[within[-1] if len(within) else 0].tolist())


def _shapes(problem: Problem) -> list[np.ndarray]:
    """What is added to each parameter's coordinate, from -0.5 to 0.5, `[parameters]` each."""
    count = len(problem.space.parameters)
    depth = np.linspace(-0.5, 0.5, count)
    middle = 0.5 - 2 * np.abs(depth)
    last = problem.space.sizes - 1
    without = last - np.eye(count, dtype=int) * last
    saved = problem.cost(last) - problem.costs(without)
    cheap = -np.argsort(np.argsort(saved, kind="stable"), kind="stable") / max(count - 1, 1) + 0.5
    return [depth, -depth, middle, -middle, cheap]


SAMPLER = ProposingSampler("uniform", _propose, starts=False)
