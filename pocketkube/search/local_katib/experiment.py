"""A Katib Experiment as plain data, complete with the defaults that Katib gives it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pocketkube.search.local_katib.parameter import Parameter

Strategy = Literal["min", "max", "latest"]
Collects = Literal["StdOut", "File"]


@dataclass(frozen=True)
class Objective:
    """What trials are judged by.

    Attributes:
        maximize: Whether more is better.
        goal: The experiment has succeeded when a trial reaches it.
        metric: The metric that judges.
        additional: Other metrics to collect.
        strategies: Which of a metric's values counts, by the metric's name.
    """

    maximize: bool
    goal: float | None
    metric: str
    additional: tuple[str, ...]
    strategies: Mapping[str, Strategy]

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics, the one that judges first."""
        return (self.metric, *self.additional)

    def better(self, value: float, other: float) -> bool:
        """Whether a value is better than another one."""
        return value > other if self.maximize else value < other

    def reached(self, value: float) -> bool:
        """Whether a value reaches the goal."""
        if self.goal is None:
            return False
        return value >= self.goal if self.maximize else value <= self.goal


@dataclass(frozen=True)
class Algorithm:
    """How the next trials are found.

    Attributes:
        name: As Katib knows it.
        settings: Its settings as they were written.
    """

    name: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class MedianStop:
    """Early stopping: a trial ends that is worse than others were at the same step.

    Attributes:
        min_trials: How many trials must have succeeded first.
        start_step: At which value of the objective's metric a trial is judged, counted from 1.
    """

    min_trials: int = 3
    start_step: int = 4


@dataclass(frozen=True)
class Collector:
    """Where a trial's metrics are.

    Attributes:
        collects: "StdOut": what the trial prints; "File": a file that it writes.
        path: The file, as the trial knows it in its container.
        is_json: Whether each line is a JSON object, else text.
        filters: Regular expressions for text, with the groups name and value.
    """

    collects: Collects
    path: str
    is_json: bool
    filters: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """What a trial runs.

    Attributes:
        spec: The Job or MPIJob, with `${trialParameters.NAME}` in it.
        parameters: What stands for NAME: a parameter's name, or trial metadata as `${trialSpec.Name}`.
        container: The name of the container that is run.
        labels: Those of the pod that holds it; empty where Katib's own hold.
    """

    spec: Mapping[str, Any]
    parameters: Mapping[str, str]
    container: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Experiment:
    """A whole experiment.

    Attributes:
        name: Its name.
        namespace: Where it would run.
        folder: That of its file, where trials run.
        parameters: What is searched.
        objective: What trials are judged by.
        algorithm: How the next trials are found.
        early_stopping: How bad trials are ended, if they are.
        parallel: How many trials run at once.
        max_trials: After how many ended trials it has succeeded; None: only the goal ends it.
        max_failed: At how many failed trials it has failed; None: never.
        collector: Where a trial's metrics are.
        template: What a trial runs.
        resumes: Whether more trials may follow once it has ended by `max_trials`.
    """

    name: str
    namespace: str
    folder: Path
    parameters: tuple[Parameter, ...]
    objective: Objective
    algorithm: Algorithm
    early_stopping: MedianStop | None
    parallel: int
    max_trials: int | None
    max_failed: int | None
    collector: Collector
    template: Template
    resumes: bool
