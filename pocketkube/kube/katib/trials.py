"""Reads Katib's Trials as the search's own."""

from collections.abc import Mapping
from datetime import datetime

from pocketkube.kube.katib.experiment import APPLIED, OBJECTIVE, OUR_ALGORITHMS
from pocketkube.kube.objects import Kind, met_condition
from pocketkube.kube.transport import Document
from pocketkube.search.applied import applied_choice
from pocketkube.search.problem import Problem
from pocketkube.search.samplers.starting import starting_sampler
from pocketkube.search.trial import State, Trial, number_of
from pocketkube.spec.searched import OF_KATIB

TRIAL = Kind("kubeflow.org/v1beta1", "Trial")
SUGGESTION = Kind("kubeflow.org/v1beta1", "Suggestion")
# Of a trial whose score is that of a part of its fine-tuning.
STOPPED = "stopped early"
_SAMPLERS = {algorithm: name for name, algorithm in OF_KATIB.items()}
_FAILED = ("Failed", "Killed", "MetricsUnavailable")


def order_of(suggestion: Document | None) -> tuple[str, ...]:
    """The names of trials in the order in which they were proposed; their own objects do not tell it.

    Args:
        suggestion: The Experiment's Suggestion; None where there is none yet.
    """
    found = (suggestion or {}).get("status", {}).get("suggestions") or ()
    return tuple(each["name"] for each in found)


def read_trial(
    document: Document, number: int, problem: Problem, algorithm: str, cause: str = ""
) -> Trial:
    """A Trial as the search has it.

    Args:
        document: The Trial.
        number: Its place in the order in which trials were proposed.
        problem: The search.
        algorithm: What proposes its trials, as KatibConfig registers it.
        cause: Why it failed; what Katib says of it if empty.
    """
    metrics = _metrics(document)
    score = metrics.get(OBJECTIVE)
    state, choice = _state(document, score), _choice(document, metrics, problem, algorithm)
    known = (problem.limit.cost, *problem.cost_names)
    return Trial(
        number=number,
        choice=choice,
        state=state,
        score=score if state == "done" else None,
        costs={name: metrics[name] for name in known if name in metrics},
        seconds=_seconds(document),
        sampler=_sampler(algorithm, number, problem, choice),
        cause=(cause or said_of_failure(document)) if state == "failed" else _stopped(document),
    )


def said_of_failure(document: Document) -> str:
    """What Katib says of a Trial that failed."""
    condition = met_condition(document, *_FAILED)
    if condition is None:
        return "it reported no score"
    return str(condition.get("message") or condition.get("reason") or condition["type"]).rstrip(". ")


def awaits_score(document: Document) -> bool:
    """Whether a Trial was stopped early and has no metrics yet, which Katib writes a little later."""
    observed = document.get("status", {}).get("observation")
    return met_condition(document, "EarlyStopped") is not None and not observed


def _state(document: Document, score: float | None) -> State:
    if met_condition(document, *_FAILED):
        return "failed"
    if score is None and awaits_score(document):
        return "running"
    if met_condition(document, "Succeeded", "EarlyStopped"):
        return "failed" if score is None else "done"
    return "running"


def _stopped(document: Document) -> str:
    return STOPPED if met_condition(document, "EarlyStopped") else ""


def _metrics(document: Document) -> dict[str, float]:
    """The last value of each metric that is a number."""
    observation = document.get("status", {}).get("observation") or {}
    found = {
        each["name"]: number_of(each.get("latest", "")) for each in observation.get("metrics") or ()
    }
    return {name: value for name, value in found.items() if value is not None}


def _choice(
    document: Document, metrics: Mapping[str, float], problem: Problem, algorithm: str
) -> tuple[int, ...]:
    """What the trial really used, as it reported; before that, what it will make of its assignment."""
    names = problem.space.names
    applied = {name: metrics[f"{APPLIED}{name}"] for name in names if f"{APPLIED}{name}" in metrics}
    if len(applied) == len(names):
        return tuple(int(level) for level in problem.space.choice(applied))
    assigned = {
        each["name"]: number_of(each["value"]) for each in document["spec"]["parameterAssignments"]
    }
    values = {name: assigned.get(name) for name in names}
    known = {name: value for name, value in values.items() if value is not None}
    if len(known) < len(names):
        return tuple(0 for _ in names)
    is_ours = algorithm.startswith(OUR_ALGORITHMS)
    return applied_choice(problem, problem.space.choice(known), as_given=is_ours)


def _sampler(algorithm: str, number: int, problem: Problem, choice: tuple[int, ...]) -> str:
    """As the search's samplers are called."""
    if not algorithm.startswith(OUR_ALGORITHMS):
        return _SAMPLERS.get(algorithm, algorithm)
    return starting_sampler(problem, number, choice) or algorithm.removeprefix(OUR_ALGORITHMS)


def _seconds(document: Document) -> float:
    status = document.get("status", {})
    try:
        began, ended = (datetime.fromisoformat(status[key]) for key in ("startTime", "completionTime"))
    except (KeyError, TypeError, ValueError):
        return 0.0
    return max(0.0, (ended - began).total_seconds())
