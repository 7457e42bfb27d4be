"""The multi-objective tree-structured Parzen estimator (Ozaki et al., 2022), which is Optuna's TPE."""

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.samplers.asking import ProposingSampler
from pocketkube.search.samplers.history import Choice, History
from pocketkube.search.samplers.tpe import quiet_optuna, tpe_sampler
from pocketkube.search.samplers.two_objectives import proposed


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    """Of many trials the latest count."""
    with quiet_optuna():
        return proposed(problem, past, tpe_sampler(rng))


SAMPLER = ProposingSampler("motpe", _propose)
