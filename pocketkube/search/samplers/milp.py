"""The solution of the foreseen losses first, then that of losses as the trials so far showed them."""

from collections.abc import Sequence

import numpy as np

from pocketkube.search.milp import solve
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.sampler import Asked
from pocketkube.search.samplers.asking import ask_each
from pocketkube.search.samplers.history import Choice, History
from pocketkube.search.trial import Trial


class Milp:
    """See the module."""

    name = "milp"

    def ask(
        self, problem: Problem, trials: Sequence[Trial], count: int, *, seed: int, state: str = ""
    ) -> Asked:
        """See `Sampler`."""
        return ask_each(self.name, problem, trials, count, seed, _propose)


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    if not problem.losses:
        return project(problem, rng.random(len(problem.space.parameters))).choice
    return solve(problem).choice
