"""Random search: a point of the unit box, projected onto the budget."""

import numpy as np

from pocketkube.search.front import at_part, at_trial
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.samplers.asking import ProposingSampler
from pocketkube.search.samplers.history import Choice, History


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    """What every other sampler has to beat; it knows nothing of losses."""
    if problem.front is not None:
        # The first trial is what the target asks for.
        problem = at_part(problem, rng.random()) if past.count else at_trial(problem, 0)
    return project(problem, rng.random(len(problem.space.parameters))).choice


SAMPLER = ProposingSampler("random", _propose, starts=False)
