"""Katib's medianstop: ends a trial that is worse than the mean of others' first values."""

from collections.abc import Iterable
from dataclasses import dataclass

from pocketkube.search.local_katib.experiment import MedianStop, Objective
from pocketkube.search.local_katib.metrics import Reported
from pocketkube.search.local_katib.trial import Trial


@dataclass(frozen=True)
class Rule:
    """When a trial is ended.

    Attributes:
        value: It ends where its best value so far is worse.
        start_step: At which of its values that is looked at, counted from 1; at no later one.
    """

    value: float
    start_step: int


def rule_for_next(stopping: MedianStop | None, trials: Iterable[Trial]) -> Rule | None:
    """The rule for a trial that starts now.

    Args:
        stopping: The settings; None where trials are not stopped early.
        trials: All so far.

    Returns:
        The mean, for Katib takes the mean for the median, of the first values of the trials that have
        succeeded; None while these are too few.
    """
    if stopping is None:
        return None
    means = [
        trial.first_mean
        for trial in trials
        if trial.state == "Succeeded" and trial.first_mean is not None
    ]
    if len(means) < stopping.min_trials:
        return None
    return Rule(sum(means) / len(means), stopping.start_step)


class RuleWatch:
    """Watches one trial.

    Args:
        rule: When it is ended.
        objective: Says what is worse.
    """

    def __init__(self, rule: Rule, objective: Objective) -> None:
        self._rule, self._objective = rule, objective
        self._seen = 0
        self._best: float | None = None

    def stops(self, reported: Reported) -> bool:
        """Whether this value, the next that the trial reports, ends it."""
        if reported.metric != self._objective.metric:
            return False
        self._seen += 1
        if self._best is None or self._objective.better(reported.value, self._best):
            self._best = reported.value
        return self._seen == self._rule.start_step and self._objective.better(
            self._rule.value, self._best
        )
