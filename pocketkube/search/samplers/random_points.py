"""Random search: a point of the unit box, projected onto the budget."""

from collections.abc import Sequence

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.sampler import Asked
from pocketkube.search.samplers.asking import ask_each
from pocketkube.search.samplers.history import Choice, History
from pocketkube.search.trial import Trial


class RandomPoints:
    """What every other sampler has to beat; it knows nothing of losses."""

    name = "random"

    def ask(
        self, problem: Problem, trials: Sequence[Trial], count: int, *, seed: int, state: str = ""
    ) -> Asked:
        """See `Sampler`."""
        return ask_each(self.name, problem, trials, count, seed, _propose, solves_first=False)


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    return project(problem, rng.random(len(problem.space.parameters))).choice
