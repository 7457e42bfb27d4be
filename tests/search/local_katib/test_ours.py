"""This project's algorithms in an experiment on one machine: the answers of the suggestion service."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketkube.search.local_katib import run_experiment
from pocketkube.search.local_katib.algorithms import ALGORITHMS, check_algorithm
from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.parameter import Parameter
from pocketkube.search.milp import solve
from tests.search.local_katib.documents import experiment, number, written
from tests.search.local_katib.test_algorithms import history, of
from tests.search.synthetic import Synthetic, synthetic

NAMES = ("pocketkube-ddpg", "pocketkube-tpe", "pocketkube-milp")


@pytest.fixture(scope="module")
def search() -> Synthetic:
    return synthetic(5, seed=1, part=0.5, blur=0.3)


def experiment_of(name: str, search: Synthetic, **settings: str) -> Experiment:
    parameters = tuple(
        Parameter(each.name, "double", min(each.levels), max(each.levels))
        for each in search.problem.space.parameters
    )
    return of(name, parameters, **({"problem": search.problem.to_setting(), "seed": "3"} | settings))


@pytest.mark.parametrize("name", NAMES)
def test_trials_keep_the_budget_and_begin_with_the_solution(name: str, search: Synthetic) -> None:
    space = search.problem.space
    asked = experiment_of(name, search)
    assert not list(check_algorithm(asked))

    def choice(values: dict[str, str]) -> np.ndarray:
        return space.choice({key: float(text) for key, text in values.items()})

    trials = history(asked, 5, lambda values: search.score(choice(values)))
    choices = np.array([choice(dict(trial.assignment)) for trial in trials])
    assert choices[0].tolist() == list(solve(search.problem).choice)
    assert (search.problem.costs(choices) <= search.problem.limit.most * 1.0001).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"problem": "damaged"}, "setting problem: "),
        ({"seed": "x"}, "setting seed: it has to be a whole number"),
        ({"noise": "1"}, "pocketkube-ddpg has the settings problem, seed; received noise"),
    ],
)
def test_wrong_settings_are_named(search: Synthetic, settings: dict[str, str], said: str) -> None:
    found = [text for _, text in check_algorithm(experiment_of("pocketkube-ddpg", search, **settings))]
    assert said in found[0]


def test_what_the_algorithm_keeps_outlives_the_process(tmp_path: Path, search: Synthetic) -> None:
    script = "import sys; print('score=%f' % sum(float(word.split('=')[1]) for word in sys.argv[1:]))"
    (tmp_path / "t.py").write_text(script)
    space = search.problem.space
    parameters = [number(p.name, str(min(p.levels)), str(max(p.levels))) for p in space.parameters]
    words = [f"{name}=${{trialParameters.{name}}}" for name in space.names]
    document = experiment(
        parameters,
        ["python", "t.py", *words],
        algorithm="pocketkube-ddpg",
        settings={"problem": search.problem.to_setting(), "seed": "3"},
        objective={"type": "maximize", "objectiveMetricName": "score"},
        parallelTrialCount=1,
        resumePolicy="LongRunning",
    )

    def run(output: str, count: int) -> list[Any]:
        document["spec"]["maxTrialCount"] = count
        path = written(tmp_path, document)
        return [each.assignment for each in run_experiment(path, tmp_path / output, print).trials]

    whole = run("whole", 4)
    assert run("parts", 2) == whole[:2]
    assert run("parts", 4) == whole


def test_all_of_the_suggestion_services_algorithms_are_here() -> None:
    assert {*NAMES} <= {*ALGORITHMS}
