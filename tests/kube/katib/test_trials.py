"""Katib's Trials as the search reads them; the documents are such as a real controller wrote."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pocketkube.kube.katib.trials import awaits_score, order_of, read_trial, said_of_failure
from pocketkube.kube.session import Session
from pocketkube.launch.katib import RunningExperiment
from pocketkube.search.problem import Problem
from pocketkube.spec.sections import Cluster
from tests.search.synthetic import synthetic

PROBLEM = synthetic(3).problem
# Beyond the budget; a trial takes less.
ASSIGNED = {"conv0.kept": "1", "conv1.kept": "0.30000000000000004", "conv2.kept": "0.875"}


def document(
    *conditions: tuple[str, str],
    metrics: dict[str, str] | None = None,
    assigned: dict[str, str] | None = None,
) -> dict[str, Any]:
    observed = [
        {"name": name, "latest": value, "min": value, "max": value}
        for name, value in (metrics or {}).items()
    ]
    return {
        "metadata": {"name": "search-1-4k56sl7r"},
        "spec": {
            "parameterAssignments": [
                {"name": name, "value": value} for name, value in (assigned or ASSIGNED).items()
            ]
        },
        "status": {
            "startTime": "2026-11-27T05:24:10Z",
            "completionTime": "2026-11-27T05:24:21Z" if conditions else None,
            "conditions": [
                {"type": "Running", "status": "False", "message": "Trial is running"},
                *(
                    {"type": kind, "status": "True", "reason": kind, "message": said}
                    for kind, said in conditions
                ),
            ],
            **({"observation": {"metrics": observed}} if metrics else {}),
        },
    }


def read(found: dict[str, Any], number: int = 1, problem: Problem = PROBLEM) -> Any:
    return read_trial(found, number, problem, "pocketkube-ddpg")


def test_a_trial_that_is_done_has_what_it_really_used() -> None:
    applied = {"conv0.kept": "0.5", "conv1.kept": "0.25", "conv2.kept": "0.75"}
    found = document(
        ("Succeeded", "Trial has succeeded"),
        metrics={"score": "0.8125", "macs": "1.5e+06", "bytes": "unavailable"}
        | {f"applied.{name}": value for name, value in applied.items()},
    )
    trial = read(found)
    assert PROBLEM.space.values(trial.choice) == {name: float(value) for name, value in applied.items()}
    assert (trial.state, trial.score, trial.costs) == ("done", 0.8125, {"macs": 1.5e6})
    assert (trial.number, trial.seconds, trial.sampler, trial.cause) == (1, 11.0, "ddpg", "")


def test_a_trial_that_runs_has_what_it_will_make_of_its_assignment_under_the_budget() -> None:
    trial = read(document())
    assert (trial.state, trial.score, trial.seconds) == ("running", None, 0.0)
    assert PROBLEM.cost(trial.choice) <= PROBLEM.limit.most
    whole = replace(PROBLEM, limit=replace(PROBLEM.limit, most=float("inf")))
    # Without a budget it gets the nearest levels, and what is left over.
    assert PROBLEM.space.values(read(document(), problem=whole).choice)["conv0.kept"] == 1.0


def test_a_trial_of_ours_that_runs_has_what_it_was_told_where_that_is_within_the_budget() -> None:
    cheapest = dict.fromkeys(ASSIGNED, "0.25")
    ours, theirs = (
        read_trial(document(assigned=cheapest), 1, PROBLEM, name) for name in ("pocketkube-milp", "tpe")
    )
    assert ours.choice == (0, 0, 0)
    # What it leaves of the budget, a trial of Katib's own algorithms spends.
    assert PROBLEM.cost(theirs.choice) > PROBLEM.cost(ours.choice)


@pytest.mark.parametrize("kind", ["Failed", "Killed", "MetricsUnavailable"])
def test_what_katib_counts_as_failed_has_no_score(kind: str) -> None:
    trial = read(document((kind, "Trial has failed. Job reason: BackoffLimitExceeded")))
    assert (trial.state, trial.score) == ("failed", None)
    assert trial.cause == "Trial has failed. Job reason: BackoffLimitExceeded"


def test_a_trial_that_was_stopped_early_counts_with_its_last_score() -> None:
    trial = read(document(("EarlyStopped", "Trial is early stopped"), metrics={"score": "0.5"}))
    assert (trial.state, trial.score, trial.cause) == ("done", 0.5, "stopped early")


def test_a_trial_that_was_stopped_early_runs_until_katib_has_written_its_score() -> None:
    found = document(("EarlyStopped", "Trial is early stopped"))
    assert awaits_score(found)
    assert (read(found).state, read(found).score) == ("running", None)
    without = document(("EarlyStopped", "Trial is early stopped"), metrics={"score": "unavailable"})
    assert read(without).state == "failed"


@pytest.mark.parametrize("score", ["unavailable", "nan", ""])
def test_without_a_score_it_has_failed(score: str) -> None:
    found = document(("Succeeded", "Trial has succeeded"), metrics={"score": score})
    assert read(found).state == "failed"
    assert said_of_failure(found) == "it reported no score"


def test_an_assignment_that_is_none_is_the_cheapest_choice() -> None:
    assert read(document(assigned={"conv0.kept": "0.5"})).choice == (0, 0, 0)


def test_the_first_trial_of_ours_is_the_sensitivity_models() -> None:
    assert read(document(), number=0).sampler == "milp"
    assert read_trial(document(), 0, PROBLEM, "random").sampler == "random"
    without = replace(PROBLEM, losses=())
    assert read(document(), number=0, problem=without).sampler == "ddpg"


def test_a_trial_of_the_stages_own_choice_is_called_as_on_one_machine() -> None:
    ranked = replace(PROBLEM, ranked=(1, 0, 1))
    assigned = {
        name: f"{value}" for name, value in PROBLEM.space.values(np.array(ranked.ranked)).items()
    }
    found = document(assigned=assigned)
    assert read(found, number=1, problem=ranked).sampler == "ranking"
    assert read(found, number=0, problem=replace(ranked, losses=())).sampler == "ranking"
    assert read(found, number=2, problem=ranked).sampler == "ddpg"
    assert read(document(), number=1, problem=ranked).sampler == "ddpg"


def test_katibs_own_algorithms_are_called_as_samplers_are() -> None:
    assert read_trial(document(), 1, PROBLEM, "bayesianoptimization").sampler == "gp"
    assert read_trial(document(), 1, PROBLEM, "cmaes").sampler == "cmaes"


def test_trials_that_others_made_have_numbers_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketkube.launch.katib.get", lambda *_: None)
    experiment = {
        "metadata": {"name": "search-1", "uid": "1"},
        "spec": {"algorithm": {"algorithmName": "pocketkube-milp"}, "maxTrialCount": 4},
    }
    running = RunningExperiment(Session(None, ""), experiment, PROBLEM, Cluster(), is_adopted=False)  # type: ignore[arg-type]
    for done in ((), (("Succeeded", "Trial has succeeded"),)):
        for name in "ab":
            found = document(*done, metrics={"score": "0.5", "macs": "1000"})
            list(running._see(found | {"metadata": {"name": name}}))
    assert [(trial.number, trial.state) for trial in running.trials] == [(4, "done"), (5, "done")]


@pytest.mark.parametrize("of", ["trial", "service"])
def test_a_warning_that_came_before_a_pod_is_not_why_the_search_waits(
    of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = {
        "type": "Warning",
        "reason": "FailedCreate",
        "message": "exceeded quota: small",
        "lastTimestamp": "2026-11-29T12:00:00Z",
    }
    labels = {"katib.kubeflow.org/trial": "a"} if of == "trial" else {}
    pulls = {
        "metadata": {"name": "p", "uid": "p", "labels": labels},
        "status": {"phase": "Pending"},
    }
    pods: list[dict[str, Any]] = []
    owner = {"kind": "Trial" if of == "trial" else "Suggestion", "metadata": {"name": "a", "uid": "a"}}

    def found(_: object, kind: Any, *__: str, fields: str = "") -> tuple[dict[str, Any], ...]:
        if kind.name == "Event":
            return (quota,) if fields == "involvedObject.uid=a" else ()
        return tuple(pods)

    for module in ("kube.pods", "launch.katib"):
        monkeypatch.setattr(f"pocketkube.{module}.find", found)
    monkeypatch.setattr("pocketkube.launch.katib.get", lambda *_: owner)
    experiment = {
        "metadata": {"name": "search-1", "uid": "1"},
        "spec": {"algorithm": {"algorithmName": "pocketkube-milp"}, "maxTrialCount": 4},
    }
    session = Session(None, "team")  # type: ignore[arg-type]
    search = RunningExperiment(session, experiment, PROBLEM, Cluster(), is_adopted=False)
    if of == "trial":
        monkeypatch.setattr(RunningExperiment, "_number", lambda *_: 0)
        list(search._see(document() | owner))
    stuck, _ = search._why_waiting()
    assert str(stuck) == f"{owner['kind']} a does not start (FailedCreate): exceeded quota: small"
    pods.append(pulls)
    assert search._why_waiting() == (None, False)


def test_the_suggestion_tells_the_order() -> None:
    suggestion = {"status": {"suggestions": [{"name": "b"}, {"name": "a"}]}}
    assert order_of(suggestion) == ("b", "a")
    assert order_of(None) == order_of({"status": {}}) == ()
