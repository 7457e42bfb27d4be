"""What is tried before a sampler decides: the best that is foreseen, and what no search would give."""

from pocketkube.search.front import at_trial
from pocketkube.search.problem import Problem
from pocketkube.search.samplers.history import Choice, History

# So many trials of a front are the solutions of the foreseen losses at its budgets.
FIRST_ON_A_FRONT = 5
# What samplers of these trials are called.
SOLUTION, RANKING = "milp", "ranking"


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
    if _is_of_a_solution(problem, past.count):
        from pocketkube.search.milp import solve

        return solve(at_trial(problem, past.count) if problem.front else problem).choice, SOLUTION
    if _is_of_the_ranked(problem, past.count) and problem.ranked not in past.tried:
        return problem.ranked, RANKING
    return None


def starting_sampler(problem: Problem, number: int, choice: Choice) -> str | None:
    """What the sampler of one of these trials is called; None where it is none of them.

    Args:
        problem: The search.
        number: The trial's, from 0.
        choice: What it tried.
    """
    if _is_of_a_solution(problem, number):
        return SOLUTION
    is_ranked = _is_of_the_ranked(problem, number) and choice == problem.ranked
    return RANKING if is_ranked else None


def _is_of_a_solution(problem: Problem, number: int) -> bool:
    return bool(problem.losses) and number < (FIRST_ON_A_FRONT if problem.front else 1)


def _is_of_the_ranked(problem: Problem, number: int) -> bool:
    return bool(problem.ranked) and number == (1 if problem.losses else 0)
