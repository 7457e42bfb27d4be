"""What all samplers do at a question: one choice after the other, each different from all before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pocketkube.search.front import at_trial
from pocketkube.search.problem import Problem
from pocketkube.search.sampler import Asked
from pocketkube.search.samplers.history import Choice, History, history_of
from pocketkube.search.samplers.untried import untried
from pocketkube.search.trial import Trial

# So many trials of a front are the solutions of the foreseen losses at its budgets.
FIRST_ON_A_FRONT = 5
# From the problem, the trials so far and a source of randomness to what should be tried next.
Propose = Callable[[Problem, History, np.random.Generator], Choice]


@dataclass(frozen=True)
class ProposingSampler:
    """Asks for one choice after the other, as if each before it ran already; see `Sampler`.

    Attributes:
        name: The sampler's.
        propose: Says what to try; it is projected onto the budget, and moved if it was tried before.
        solves_first: Whether the first trial of all is the solution of the foreseen losses, where there
            are any; of a front the first ones.
    """

    name: str
    propose: Propose
    solves_first: bool = True

    def ask(
        self, problem: Problem, trials: Sequence[Trial], count: int, *, seed: int, state: str = ""
    ) -> Asked:
        """See `Sampler`."""
        past = history_of(problem, trials)
        chosen: list[Choice] = []
        names: list[str] = []
        for _ in range(count):
            rng = np.random.default_rng([seed, past.count])
            first = FIRST_ON_A_FRONT if problem.front else 1
            from_losses = self.solves_first and past.count < first and bool(problem.losses)
            wanted = _solution(problem, past) if from_losses else self.propose(problem, past, rng)
            # What takes its place on a front spends as much.
            within = problem.limited(problem.cost(wanted)) if problem.front else problem
            choice = untried(within, wanted, past.tried, rng)
            chosen.append(choice)
            names.append("milp" if from_losses else self.name)
            past = past.with_running(choice)
        return Asked(tuple(chosen), samplers=tuple(names))


def _solution(problem: Problem, past: History) -> Choice:
    from pocketkube.search.milp import solve

    return solve(at_trial(problem, past.count) if problem.front else problem).choice
