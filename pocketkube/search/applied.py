"""What a trial makes of the choice that it is told."""

from collections.abc import Sequence

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.projection import project_choice


def applied_choice(
    problem: Problem, told: Sequence[int] | np.ndarray, *, as_given: bool
) -> tuple[int, ...]:
    """The choice that is evaluated.

    Our samplers say exactly what they want to know of, here as under Katib, and may leave a part of the
    budget unspent; other algorithms know nothing of a budget.

    Args:
        problem: The search.
        told: `[parameters]`; of one beyond the limit the projection onto it is evaluated.
        as_given: Whether one within the limit is taken as it is; else what it leaves is spent.
    """
    choice = tuple(int(level) for level in told)
    if as_given and problem.cost(choice) <= problem.limit.most:
        return choice
    return project_choice(problem, choice).choice
