"""The multi-objective tree-structured Parzen estimator (Ozaki et al., 2022), which is Optuna's TPE."""

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.samplers.asking import ProposingSampler
from pocketkube.search.samplers.history import Choice, History
from pocketkube.search.samplers.tpe import STARTUP_TRIALS, quiet_optuna
from pocketkube.search.samplers.two_objectives import proposed


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    """Of many trials the latest count."""
    from optuna.samplers import TPESampler

    with quiet_optuna():
        sampler = TPESampler(
            n_startup_trials=STARTUP_TRIALS,
            multivariate=True,
            constant_liar=True,
            seed=int(rng.integers(2**31)),
        )
        return proposed(problem, past, sampler)


SAMPLER = ProposingSampler("motpe", _propose)
