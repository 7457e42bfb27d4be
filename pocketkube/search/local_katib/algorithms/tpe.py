"""Tree-structured Parzen estimators, by Optuna: a study is made of the trials at each question."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pocketkube.search.local_katib.algorithms.algorithm import (
    SEED,
    Suggested,
    Suggester,
    number,
    seed_of_question,
    whole,
)
from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.parameter import Parameter
from pocketkube.search.local_katib.trial import Trial
from pocketkube.search.samplers.tpe import quiet_optuna

# Katib has two services for tpe; the names of the settings of both are taken.
_OPTUNA = {"n_startup_trials": whole(0), "n_ei_candidates": whole(1)}
_HYPEROPT = {"gamma": number(0, 1), "prior_weight": number(0), "n_EI_candidates": whole(1)}


def _tpe(experiment: Experiment, trials: Sequence[Trial], state: str) -> Suggested:
    return _ask(experiment, trials, multivariate=False)


def _multivariate(experiment: Experiment, trials: Sequence[Trial], state: str) -> Suggested:
    return _ask(experiment, trials, multivariate=True)


def _ask(experiment: Experiment, trials: Sequence[Trial], *, multivariate: bool) -> Suggested:
    import optuna

    with quiet_optuna():
        sampler = optuna.samplers.TPESampler(
            **_sampler_settings(experiment, len(trials)),
            multivariate=multivariate,
            # Running trials are not to be asked for again.
            constant_liar=True,
        )
        study = optuna.create_study(
            sampler=sampler, direction="maximize" if experiment.objective.maximize else "minimize"
        )
    space = {each.name: _distribution(each) for each in experiment.parameters}
    states = optuna.trial.TrialState
    for trial in trials:
        if trial.value is None and trial.state != "Running":
            continue
        study.add_trial(
            optuna.trial.create_trial(
                state=states.RUNNING if trial.value is None else states.COMPLETE,
                value=trial.value,
                params={
                    each.name: _value(each, trial.assignment[each.name])
                    for each in experiment.parameters
                },
                distributions=space,
            )
        )
    found = study.ask(space).params
    return Suggested({each.name: _text(each, found[each.name]) for each in experiment.parameters})


def _sampler_settings(experiment: Experiment, asked: int) -> dict[str, Any]:
    texts = experiment.algorithm.settings
    read = {name: setting.read(texts[name]) for name, setting in _ALL.items() if name in texts}
    # A sampler lives for one question: each has a seed of its own.
    settings: dict[str, Any] = {"seed": seed_of_question(experiment, asked)}
    for name in ("n_startup_trials", "n_ei_candidates", "prior_weight"):
        if name in read:
            settings[name] = read[name]
    if "n_EI_candidates" in read:
        settings["n_ei_candidates"] = read["n_EI_candidates"]
    if "gamma" in read:
        # As Hyperopt has it: the best of n trials are gamma times the root of n, at most 25.
        settings["gamma"] = lambda n: min(math.ceil(read["gamma"] * math.sqrt(n)), 25)
    return settings


def _distribution(parameter: Parameter) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not parameter.is_number:
        return CategoricalDistribution(parameter.values)
    if parameter.distribution in ("normal", "logNormal"):
        # Optuna has none: it searches places.
        return FloatDistribution(0.0, 1.0)
    least, most = parameter.least, parameter.most
    if parameter.kind == "int":
        step = 1 if parameter.is_log else int(parameter.step or 1)
        last = int(least) + (int(most) - int(least)) // step * step
        return IntDistribution(int(least), last, log=parameter.is_log, step=step)
    if parameter.is_log or not parameter.step:
        return FloatDistribution(least, most, log=parameter.is_log)
    last_value = float(parameter.value(parameter.size - 1))
    return FloatDistribution(least, last_value, step=parameter.step)


def _value(parameter: Parameter, text: str) -> Any:
    if not parameter.is_number:
        return text
    if parameter.distribution in ("normal", "logNormal"):
        return parameter.place_of(text)
    return int(text) if parameter.kind == "int" else float(text)


def _text(parameter: Parameter, value: Any) -> str:
    if not parameter.is_number:
        return str(value)
    if parameter.distribution in ("normal", "logNormal"):
        return parameter.value_at(value)
    return parameter.text(value)


def _check_multivariate(experiment: Experiment) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for index, each in enumerate(experiment.parameters):
        if each.distribution in ("normal", "logNormal"):
            yield (
                ("spec", "parameters", index, "feasibleSpace", "distribution"),
                "Katib's service for multivariate-tpe has uniform and logUniform alone; received "
                f"{each.distribution}",
            )


_ALL = {**_OPTUNA, **_HYPEROPT}
TPE = Suggester(_tpe, {**_ALL, **SEED})
MULTIVARIATE_TPE = Suggester(_multivariate, {**_OPTUNA, **SEED}, _check_multivariate)
