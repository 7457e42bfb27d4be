"""Optuna's tree-structured Parzen estimator (Bergstra et al., 2011) over the levels of parameters."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.projection import project_choice
from pocketkube.search.samplers.asking import ProposingSampler
from pocketkube.search.samplers.history import Choice, History

if TYPE_CHECKING:
    import optuna

# So many trials are random before the estimator decides.
STARTUP_TRIALS = 10
# A study of some hundred trials takes longer to make than an answer may take.
MOST_TRIALS = 160


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    """A study is made anew from the trials at each question.

    Each trial counts as the choice that was really tried.
    """
    with quiet_optuna():
        study = _study(problem, past.narrowed(MOST_TRIALS), tpe_sampler(rng))
        asked = study.ask(distributions_of(problem))
    return project_choice(problem, [asked.params[name] for name in problem.space.names]).choice


def tpe_sampler(rng: np.random.Generator) -> "optuna.samplers.TPESampler":
    """Optuna's, for one objective or several; within `quiet_optuna`."""
    from optuna.samplers import TPESampler

    return TPESampler(
        n_startup_trials=STARTUP_TRIALS,
        multivariate=True,
        constant_liar=True,
        seed=int(rng.integers(2**31)),
    )


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keeps Optuna from telling of studies in memory, and of arguments that are new or will go."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def distributions_of(problem: Problem) -> "dict[str, optuna.distributions.BaseDistribution]":
    """A whole number for each parameter, its level."""
    from optuna.distributions import IntDistribution

    sizes = problem.space.sizes.tolist()
    return {
        name: IntDistribution(0, size - 1)
        for name, size in zip(problem.space.names, sizes, strict=True)
    }


def _study(problem: Problem, past: History, sampler: "optuna.samplers.BaseSampler") -> "optuna.Study":
    """A study in memory that holds the trials so far."""
    import optuna
    from optuna.trial import TrialState, create_trial

    distributions = distributions_of(problem)
    study = optuna.create_study(sampler=sampler, direction="maximize")

    def add(choice: Choice, score: float | None) -> None:
        study.add_trial(
            create_trial(
                params=dict(zip(problem.space.names, choice, strict=True)),
                distributions=distributions,
                value=score,
                state=TrialState.RUNNING if score is None else TrialState.COMPLETE,
            )
        )

    for choice, score in zip(past.choices, past.scores, strict=True):
        add(choice, score)
    for choice in past.failed:
        add(choice, past.worst_score)
    for choice in past.running:
        add(choice, None)
    return study


SAMPLER = ProposingSampler("tpe", _propose)
