"""The non-dominated sorting genetic algorithm II (Deb et al., 2002), by Optuna."""

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.samplers.asking import ProposingSampler
from pocketkube.search.samplers.history import Choice, History
from pocketkube.search.samplers.tpe import quiet_optuna
from pocketkube.search.samplers.two_objectives import proposed

# A hundred trials are some generations.
POPULATION = 16
# Where Optuna keeps which generation a trial is of.
GENERATION = "NSGAIISampler:generation"


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    """Trials are of generations in the order in which they ended."""
    from optuna.samplers import NSGAIISampler

    with quiet_optuna():
        sampler = NSGAIISampler(population_size=POPULATION, seed=int(rng.integers(2**31)))
        return proposed(problem, past, sampler, lambda number: {GENERATION: number // POPULATION})


SAMPLER = ProposingSampler("nsga2", _propose)
