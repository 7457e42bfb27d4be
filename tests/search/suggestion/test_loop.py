"""Twelve trials with a real service and without a cluster: what Katib does between two questions.

The service's answers go through the trial's own words, its metrics through Katib's filter, and into the
next request. The same search on one machine has to give the same trials.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketkube.kube.katib.experiment import METRICS_FORMAT
from pocketkube.search.applied import applied_choice
from pocketkube.search.experiment import run_experiment
from pocketkube.search.pool import Here
from pocketkube.search.samplers import sampler_named
from pocketkube.search.trial_command import known_text, score_text
from tests.search.suggestion.conftest import Service
from tests.search.suggestion.requests import experiment, request, trial, with_settings
from tests.search.synthetic import Synthetic, chain, synthetic

TRIALS, SEED = 12, 3
Choice = tuple[int, ...]

SEARCHES = {
    "channels": synthetic(8, seed=1, part=0.4, blur=0.3, noise=0.01),
    # Some of whose best choices leave a part of the budget, which a projection would spend.
    "noisy": synthetic(3, seed=4, part=0.5, blur=1.0, noise=0.2),
    "bits": synthetic(5, seed=2, part=0.6, cost="bytes", decides=("kept", "bits"), blur=0.3),
    "zeros": synthetic(4, seed=3, part=0.3, cost="parameters", decides=("sparsity",), blur=0.3),
    "few choices": synthetic(1, seed=1, part=0.7, network=chain(1), blur=0.5),
}


class Evaluated:
    """What came of a trial."""

    costs: dict[str, float] = {}  # noqa: RUF012 - no trial has any
    seconds = 0.0

    def __init__(self, score: float) -> None:
        self.score = score


def on_katib(
    service: Service, messages: Any, search: Synthetic, algorithm: str
) -> list[tuple[Choice, float]]:
    """What each trial evaluated, and its score, one after the other."""
    problem = search.problem
    asked = experiment(messages, problem, algorithm, seed=str(SEED))
    trials: list[Any] = []
    evaluated = []
    for number in range(TRIALS):
        reply = service.suggestion.GetSuggestions(request(messages, asked, trials, 1))
        (suggested,) = reply.parameter_assignments
        told = {each.name: each.value for each in suggested.assignments}
        levels = problem.space.choice({name: float(value) for name, value in told.items()})
        applied = applied_choice(problem, levels, as_given=True)
        evaluated.append((applied, search.score(applied)))
        text = known_text(problem, applied) + score_text(evaluated[-1][1])
        metrics = {name: value for name, value, *_ in re.findall(METRICS_FORMAT, text)}
        done = trial(messages, number, told, {})
        for name, value in metrics.items():
            done.status.observation.metrics.append(messages.Metric(name=name, value=value))
        trials.append(done)
        asked = with_settings(messages, asked, reply)
    return evaluated


@pytest.mark.parametrize("sampler", ["ddpg", "tpe", "milp"])
@pytest.mark.parametrize("name", SEARCHES)
def test_trials_differ_and_are_those_of_a_search_on_one_machine(
    service: Service, katib: Any, tmp_path: Path, name: str, sampler: str
) -> None:
    search = SEARCHES[name]
    there = on_katib(service, katib[0], search, f"pocketkube-{sampler}")
    here = run_experiment(
        search.problem,
        sampler_named(sampler),
        Here(lambda choice: Evaluated(search.score(choice))),
        trials=TRIALS,
        seed=SEED,
        folder=tmp_path,
    )
    assert there == [(each.choice, each.score) for each in here]
    choices = np.array([choice for choice, _ in there])
    assert (search.problem.costs(choices) <= search.problem.limit.most).all()
    assert len({choice for choice, _ in there}) == min(TRIALS, within_budget(search))


def within_budget(search: Synthetic) -> int:
    """How many choices there are, up to the number of trials."""
    sizes = search.problem.space.sizes
    first = np.arange(min(int(np.prod(sizes, dtype=float)), 100_000))
    every = np.stack(np.unravel_index(first, tuple(sizes)), axis=1)
    return min(TRIALS, int((search.problem.costs(every) <= search.problem.limit.most).sum()))
