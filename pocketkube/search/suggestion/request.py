"""What a request of Katib's says, as plain data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pocketkube.errors import UserError
from pocketkube.search.suggestion.feasible import Feasible, feasible

_RUNNING = ("CREATED", "RUNNING", "UNKNOWN")


@dataclass(frozen=True)
class Experiment:
    """An experiment.

    Attributes:
        name: Its name.
        algorithm: The name of its algorithm, as KatibConfig has it.
        settings: The algorithm's settings.
        parameters: Its parameters, in its order.
        objective: The name of its objective metric.
        sign: 1 where the objective is maximised, -1 where it is minimised.
    """

    name: str
    algorithm: str
    settings: Mapping[str, str]
    parameters: tuple[Feasible, ...]
    objective: str
    sign: int


@dataclass(frozen=True)
class KatibTrial:
    """A trial as Katib tells of it.

    Attributes:
        name: Its name.
        started: When, in a form that sorts; empty where it has not.
        is_running: Whether it has not ended.
        is_measured: Whether its metrics count: it succeeded, or was stopped early.
        assignment: What it was told, as texts.
        metrics: What it reported, as texts.
    """

    name: str
    started: str
    is_running: bool
    is_measured: bool
    assignment: Mapping[str, str]
    metrics: Mapping[str, str]


def experiment_of(message: Any, messages: Any) -> Experiment:
    """Reads an Experiment message.

    Args:
        message: The message.
        messages: The module katib_api_pb2.

    Raises:
        UserError: If what it says cannot be.
    """
    spec = message.spec
    kinds = {number: name for name, number in messages.ParameterType.items()}
    objective = messages.ObjectiveType.Name(spec.objective.type)
    if objective not in ("MAXIMIZE", "MINIMIZE"):
        raise UserError(f"objective: its type has to be maximize or minimize; Katib says {objective}")
    if not spec.objective.objective_metric_name:
        raise UserError("objective: it has no objectiveMetricName")
    if math.isnan(spec.objective.goal):
        raise UserError("objective: its goal has to be a number; received nan")
    return Experiment(
        name=message.name,
        algorithm=spec.algorithm.algorithm_name,
        settings={each.name: each.value for each in spec.algorithm.algorithm_settings},
        parameters=tuple(
            feasible(
                each.name,
                kinds.get(each.parameter_type, str(each.parameter_type)),
                each.feasible_space.min,
                each.feasible_space.max,
                each.feasible_space.step,
                list(each.feasible_space.list),
            )
            for each in spec.parameter_specs.parameters
        ),
        objective=spec.objective.objective_metric_name,
        sign=1 if objective == "MAXIMIZE" else -1,
    )


def trials_of(found: Sequence[Any], messages: Any) -> list[KatibTrial]:
    """Reads Trial messages."""
    conditions = messages.TrialStatus.TrialConditionType
    read = []
    for message in found:
        status = message.status
        condition = conditions.Name(status.condition)
        assigned = message.spec.parameter_assignments.assignments
        read.append(
            KatibTrial(
                name=message.name,
                started=status.start_time,
                is_running=condition in _RUNNING,
                is_measured=condition in ("SUCCEEDED", "EARLYSTOPPED"),
                assignment={each.name: each.value for each in assigned},
                metrics={each.name: each.value for each in status.observation.metrics},
            )
        )
    return read
