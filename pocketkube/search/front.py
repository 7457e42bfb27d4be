"""The budgets of a search that has a range of them, as parts of the way up from the lowest."""

import numpy as np

from pocketkube.search.problem import Problem


def at_part(problem: Problem, part: float) -> Problem:
    """The search at one of the budgets of its front.

    Args:
        problem: One with a front.
        part: From 0, the lowest budget, to 1, the highest.
    """
    assert problem.front is not None
    least, most = problem.front.least, problem.limit.most
    return problem.limited(min(least + min(max(part, 0.0), 1.0) * (most - least), most))


def at_trial(problem: Problem, number: int) -> Problem:
    """The search at the budget of a trial, where budgets are tried one after the other.

    The first is the target, then come the highest and the lowest, the middle, the quarters, the
    eighths, and so on: wherever it ends, those tried are spread evenly.

    Args:
        problem: One with a front.
        number: The trial's, from 0 on.
    """
    assert problem.front is not None
    if number == 0:
        return problem.limited(problem.front.target)
    if number <= 2:
        return at_part(problem, float(number == 1))
    # The binary digits of 1, 2, 3, … mirrored at the point (van der Corput, 1935): 1/2, 1/4, 3/4, ….
    return at_part(problem, _mirrored(number - 2))


def parts_of(problem: Problem, choices: np.ndarray) -> np.ndarray:
    """The budgets that choices spend, `[choices]`, from 0 to 1.

    Args:
        problem: One with a front.
        choices: `[choices, parameters]`.
    """
    assert problem.front is not None
    least, most = problem.front.least, problem.limit.most
    return np.clip((problem.costs(choices) - least) / max(most - least, 1e-12), 0.0, 1.0)


def _mirrored(number: int) -> float:
    digits = f"{number:b}"
    return int(digits[::-1], 2) / 2 ** len(digits)
