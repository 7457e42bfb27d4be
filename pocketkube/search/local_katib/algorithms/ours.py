"""This project's own algorithms, answered as the suggestion service answers them on a cluster."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pocketkube.errors import UserError
from pocketkube.search.local_katib.algorithms.algorithm import Setting, Suggested, Suggester
from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.parameter import Parameter
from pocketkube.search.local_katib.trial import Trial
from pocketkube.search.suggestion import answer, request
from pocketkube.search.suggestion.feasible import Feasible, feasible


def _suggest(experiment: Experiment, trials: Sequence[Trial], state: str) -> Suggested:
    asked = _request(experiment)
    if state:
        # As Katib does with the settings of an answer: they come with the next request.
        asked = replace(asked, settings={**asked.settings, answer.STATE: state})
    known = [_katib_trial(experiment, trial) for trial in trials]
    found = answer.suggest(asked, answer.search_of(asked), known, 1)
    return Suggested(found.assignments[0], found.state)


def _check(experiment: Experiment) -> Iterator[tuple[tuple[str | int, ...], str]]:
    try:
        answer.search_of(_request(experiment))
    except UserError as error:
        yield ("spec", "algorithm"), str(error)


def _request(experiment: Experiment) -> request.Experiment:
    return request.Experiment(
        name=experiment.name,
        algorithm=experiment.algorithm.name,
        settings=experiment.algorithm.settings,
        parameters=tuple(map(_feasible, experiment.parameters)),
        objective=experiment.objective.metric,
        sign=1 if experiment.objective.maximize else -1,
    )


def _feasible(parameter: Parameter) -> Feasible:
    step = str(parameter.step) if parameter.step else ""
    return feasible(
        parameter.name,
        parameter.kind.upper(),
        str(parameter.least),
        str(parameter.most),
        step,
        parameter.values,
    )


def _katib_trial(experiment: Experiment, trial: Trial) -> request.KatibTrial:
    strategies = experiment.objective.strategies
    return request.KatibTrial(
        name=trial.name,
        # Of one length, so that they sort.
        started=f"{trial.number:09d}",
        is_running=trial.state == "Running",
        is_measured=trial.value is not None,
        assignment=trial.assignment,
        metrics={name: str(seen.counted(strategies[name])) for name, seen in trial.metrics.items()},
    )


def _any(text: str) -> str:
    return text


# What is wrong with them, `answer.search_of` says.
_SETTINGS = {
    answer.PROBLEM: Setting("a search, compressed", _any),
    answer.SEED: Setting("a whole number", _any),
}
OURS: Mapping[str, Suggester] = {
    name: Suggester(_suggest, _SETTINGS, _check) for name in answer.ALGORITHMS
}
