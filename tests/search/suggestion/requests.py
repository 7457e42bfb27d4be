"""Requests as Katib makes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from tests.search.synthetic import Synthetic


def experiment(
    messages: Any, searched: Problem, algorithm: str = "pocketkube-ddpg", /, **settings: str
) -> Any:
    """An experiment that searches a problem, as PocketKube makes it; settings are added to its own."""
    specs = []
    for each in searched.space.parameters:
        whole = each.decides == "bits"
        gaps = np.diff(sorted(each.levels))
        specs.append(
            messages.ParameterSpec(
                name=each.name,
                parameter_type=messages.INT if whole else messages.DOUBLE,
                feasible_space=messages.FeasibleSpace(
                    min=f"{min(each.levels):g}",
                    max=f"{max(each.levels):g}",
                    step=f"{gaps[0]:g}" if np.allclose(gaps, gaps[0]) else "",
                ),
            )
        )
    told = {"problem": searched.to_setting(), "seed": "3", **settings}
    return messages.Experiment(
        name="search",
        spec=messages.ExperimentSpec(
            parameter_specs=messages.ExperimentSpec.ParameterSpecs(parameters=specs),
            objective=messages.ObjectiveSpec(
                type=messages.MAXIMIZE, objective_metric_name="score", additional_metric_names=["macs"]
            ),
            algorithm=messages.AlgorithmSpec(
                algorithm_name=algorithm,
                algorithm_settings=[
                    messages.AlgorithmSetting(name=name, value=value) for name, value in told.items()
                ],
            ),
            parallel_trial_count=2,
            max_trial_count=12,
        ),
    )


def trial(
    messages: Any,
    number: int,
    values: Mapping[str, str],
    metrics: Mapping[str, float] | None,
    condition: str = "SUCCEEDED",
) -> Any:
    """A trial, its metrics as texts; None where it has none."""
    return messages.Trial(
        name=f"search-{number:04}",
        spec=messages.TrialSpec(
            parameter_assignments=messages.TrialSpec.ParameterAssignments(
                assignments=[
                    messages.ParameterAssignment(name=name, value=value)
                    for name, value in values.items()
                ]
            )
        ),
        status=messages.TrialStatus(
            start_time=f"2026-11-27T05:{number // 60:02}:{number % 60:02}Z",
            condition=messages.TrialStatus.TrialConditionType.Value(condition),
            observation=messages.Observation(
                metrics=[
                    messages.Metric(name=name, value=repr(value))
                    for name, value in (metrics or {}).items()
                ]
            ),
        ),
    )


def history(messages: Any, search: Synthetic, count: int, sign: int = 1) -> list[Any]:
    """Trials at random, every seventh of them failed, the last two running."""
    rng = np.random.default_rng(0)
    space, made = search.problem.space, []
    for number in range(count):
        point = rng.random(len(space.sizes))
        # What a trial is told is not what it applies; and there is dust on it.
        told = {name: repr(value + 1e-12) for name, value in space.values(space.nearest(point)).items()}
        applied = project(search.problem, space.point(space.nearest(point))).choice
        if number >= count - 2:
            made.append(trial(messages, number, told, None, "RUNNING"))
        elif number % 7 == 6:
            made.append(
                trial(messages, number, told, None, ("FAILED", "METRICSUNAVAILABLE")[number % 2])
            )
        else:
            metrics = {"score": sign * search.score(applied), "macs": 1.0}
            if number % 3:
                used = space.values(np.array(applied))
                metrics |= {f"applied.{name}": value for name, value in used.items()}
            made.append(trial(messages, number, told, metrics))
    return made


def request(messages: Any, of: Any, trials: Sequence[Any], count: int) -> Any:
    """What Katib asks."""
    return messages.GetSuggestionsRequest(
        experiment=of,
        trials=trials,
        current_request_number=count,
        total_request_number=len(trials) + count,
    )


def with_settings(messages: Any, of: Any, reply: Any) -> Any:
    """The experiment of the next request: Katib adds the settings of the reply before."""
    following = messages.Experiment()
    following.CopyFrom(of)
    for each in reply.algorithm.algorithm_settings:
        known = [one for one in following.spec.algorithm.algorithm_settings if one.name == each.name]
        if known:
            known[0].value = each.value
        else:
            following.spec.algorithm.algorithm_settings.append(each)
    return following
