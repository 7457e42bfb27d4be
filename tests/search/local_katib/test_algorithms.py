"""Each of Katib's algorithms: what it suggests is allowed, repeats itself, and finds a minimum."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pocketkube.search.local_katib.algorithms import ALGORITHMS, check_algorithm
from pocketkube.search.local_katib.experiment import (
    Algorithm,
    Collector,
    Experiment,
    Objective,
    Template,
)
from pocketkube.search.local_katib.parameter import Parameter
from pocketkube.search.local_katib.trial import Trial

MIXED = (
    Parameter("rate", "double", 1e-4, 1, distribution="logUniform"),
    Parameter("momentum", "double", 0.5, 0.9, 0.1),
    Parameter("layers", "int", 1, 5),
    Parameter("batch", "discrete", values=("16", "32", "64")),
    Parameter("optimizer", "categorical", values=("sgd", "adam")),
)
PLANE = (Parameter("x", "double", -5, 5), Parameter("y", "double", 0, 10))
FINISHING = ("random", "sobol", "tpe", "multivariate-tpe", "cmaes", "bayesianoptimization")


def of(name: str, parameters: tuple[Parameter, ...], **settings: str) -> Experiment:
    return Experiment(
        "tried",
        "default",
        Path(),
        parameters,
        Objective(True, None, "score", (), {"score": "max"}),
        Algorithm(name, settings),
        None,
        2,
        None,
        None,
        Collector("StdOut", "", False, ()),
        Template({}, {}, "main", {}),
        False,
    )


def history(
    experiment: Experiment, count: int, score: Callable[[dict[str, str]], float | None]
) -> list[Trial]:
    """Trials one after the other; those without a score have failed."""
    trials: list[Trial] = []
    for number in range(1, count + 1):
        found = ALGORITHMS[experiment.algorithm.name].suggest(experiment, trials, "")
        assert found is not None
        value = score(dict(found.assignment))
        state = "Failed" if value is None else "Succeeded"
        trials.append(Trial(number, f"t-{number}", found.assignment, state, value))
    return trials


def mixed_score(values: dict[str, str]) -> float | None:
    if values["optimizer"] == "sgd" and values["layers"] == "5":
        return None
    return -abs(math.log10(float(values["rate"])) + 2) - abs(int(values["layers"]) - 3)


def plane_score(values: dict[str, str]) -> float:
    return -((float(values["x"]) - 2) ** 2) - (float(values["y"]) - 7) ** 2


@pytest.mark.parametrize("name", FINISHING)
def test_values_are_allowed_and_equal_questions_have_equal_answers(name: str) -> None:
    experiment = of(name, MIXED, **({"n_initial_points": "5"} if name.startswith("bay") else {}))
    assert not list(check_algorithm(experiment))
    trials = history(experiment, 14, mixed_score)
    for trial in trials:
        assert list(trial.assignment) == [each.name for each in MIXED]
        for parameter in MIXED:
            text = trial.assignment[parameter.name]
            again = parameter.value_at(parameter.place_of(text))
            assert again == text if parameter.size else float(again) == pytest.approx(float(text))
    running = [*trials[:-2], *(replace(trial, state="Running", value=None) for trial in trials[-2:])]
    suggest = ALGORITHMS[name].suggest
    one, two = suggest(experiment, running, ""), suggest(experiment, running, "")
    assert one == two
    assert one is not None
    other = replace(experiment, algorithm=Algorithm(name, {"random_state": "7"}))
    assert suggest(other, trials[:1], "") != suggest(experiment, trials[:1], "")


@pytest.mark.parametrize("name", ["tpe", "multivariate-tpe", "cmaes", "bayesianoptimization"])
def test_what_learns_from_trials_looks_where_they_are_good(name: str) -> None:
    values = [plane_score(dict(each.assignment)) for each in history(of(name, PLANE), 26, plane_score)]
    drawn = [
        plane_score(dict(each.assignment)) for each in history(of("random", PLANE), 100, plane_score)
    ]
    # Where it looks in the end is better than most of the plane.
    assert np.median(values[-8:]) > np.quantile(drawn, 0.75)


def test_the_grid_has_each_point_once_and_an_end() -> None:
    parameters = (MIXED[1], MIXED[2], MIXED[4])
    for settings in ({}, {"random_state": "1"}):
        experiment = of("grid", parameters, **settings)
        trials = history(experiment, 50, lambda values: 0.0)
        assert len({tuple(trial.assignment.values()) for trial in trials}) == 5 * 5 * 2
        assert ALGORITHMS["grid"].suggest(experiment, trials, "") is None
    assert list(check_algorithm(replace(of("grid", parameters), max_trials=51))) == [
        (("spec", "maxTrialCount"), "the grid has 50 points; received 51")
    ]


@pytest.mark.parametrize("settings", [{}, {"random_state": "1"}])
def test_a_grid_may_have_more_points_than_memory_has_room_for(settings: dict[str, str]) -> None:
    parameters = tuple(replace(MIXED[1], name=f"p{index}") for index in range(40))
    trials = history(of("grid", parameters, **settings), 3, lambda values: 0.0)
    assert len({tuple(trial.assignment.values()) for trial in trials}) == 3


def test_sobols_sequence_spreads_better_than_chance() -> None:
    trials = history(of("sobol", PLANE), 64, plane_score)
    cells = {
        (int((float(t.assignment["x"]) + 5) / 1.25), int(float(t.assignment["y"]) / 1.25))
        for t in trials
    }
    # 64 points, one in each of 64 cells.
    assert len(cells) == 64


def test_cmaes_begins_again_with_twice_the_population() -> None:
    experiment = of("cmaes", PLANE, restart_strategy="ipop", sigma="0.5")
    flat = history(experiment, 120, lambda values: 1.0)
    late = np.array([[float(text) for text in trial.assignment.values()] for trial in flat[-10:]])
    assert late.std(0).min() > 0.1
    assert ("spec", "parameters") in dict(check_algorithm(of("cmaes", MIXED[2:])))


@pytest.mark.parametrize(
    ("name", "key", "text", "said"),
    [
        ("tpe", "gamma", "2", "gamma must be a number above 0 and below 1; received 2"),
        ("multivariate-tpe", "gamma", "0.2", "received gamma"),
        ("cmaes", "restart_strategy", "bipop", "must be one of ipop, none, None; received bipop"),
        ("bayesianoptimization", "base_estimator", "RF", "base_estimator must be one of GP"),
        ("sobol", "seed", "1", "sobol has the settings random_state; received seed"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(name: str, key: str, text: str, said: str) -> None:
    assert said in next(check_algorithm(of(name, PLANE, **{key: text})))[1]


def test_settings_of_both_of_katibs_services_for_tpe_are_kept() -> None:
    settings = {"n_startup_trials": "2", "n_EI_candidates": "9", "gamma": "0.3", "prior_weight": "0.5"}
    assert not list(check_algorithm(of("tpe", PLANE, **settings)))
    usual = history(of("tpe", PLANE), 8, plane_score)
    assert history(of("tpe", PLANE, **settings), 8, plane_score) != usual
