"""What is tried before a sampler decides: the best that is foreseen, and what no search would give."""

from pocketkube.search.front import at_trial
from pocketkube.search.problem import Problem
from pocketkube.search.samplers.history import Choice, History

# So many trials of a front are the solutions of the foreseen losses at its budgets.
FIRST_ON_A_FRONT = 5


def starting_choice(problem: Problem, past: History) -> tuple[Choice, str] | None:
    """The next of these choices.

    The solution of the foreseen losses is the first, where losses were measured; what the stage itself
    would keep is the second. Of a front the first ones are solutions, each at a budget of its own.

    Args:
        problem: The search.
        past: The trials so far.

    Returns:
        The choice and what its trial's sampler is called; None where all of them were tried.
    """
    if problem.losses and past.count < (FIRST_ON_A_FRONT if problem.front else 1):
        from pocketkube.search.milp import solve

        return solve(at_trial(problem, past.count) if problem.front else problem).choice, "milp"
    is_next = past.count == (1 if problem.losses else 0)
    if problem.ranked and is_next and problem.ranked not in past.tried:
        return problem.ranked, "ranking"
    return None
