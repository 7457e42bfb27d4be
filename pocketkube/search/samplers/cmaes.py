"""The covariance matrix adaptation evolution strategy (Hansen, 2016), by the package that Optuna uses.

Optuna keeps the strategy's state in its trials; here it is replayed from them, generation by
generation, with the points of the choices that were really tried.
"""

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.samplers.asking import ProposingSampler
from pocketkube.search.samplers.history import Choice, History, as_rows

# Standard deviation of the first generation, in parts of a parameter's range.
SPREAD = 1 / 6


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    """The strategy starts from the first trial, the foreseen losses' solution where there are any.

    A generation is as many trials as the strategy wants of so many parameters: 14 of 30.
    """
    from cmaes import CMA

    parameters = len(problem.space.sizes)
    if parameters < 2:
        # The strategy is for two or more.
        return project(problem, rng.random(parameters)).choice
    start = np.full(parameters, 0.5)
    if problem.losses and past.choices:
        start = problem.space.point(np.array(past.choices[0]))
    strategy = CMA(
        mean=start,
        sigma=SPREAD,
        bounds=np.tile([0.0, 1.0], (parameters, 1)),
        seed=int(rng.integers(2**31)),
    )
    points = problem.space.point(as_rows((*past.choices, *past.failed), parameters))
    losses = [-score for score in (*past.scores, *[past.worst_score] * len(past.failed))]
    told = list(zip(points, losses, strict=True))
    size = strategy.population_size
    for begin in range(0, len(told) - size + 1, size):
        strategy.tell(told[begin : begin + size])
    return project(problem, strategy.ask()).choice


SAMPLER = ProposingSampler("cmaes", _propose)
