"""When an experiment has ended, and whether it has succeeded, as Katib says it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.trial import Trial

Reason = Literal[
    "ExperimentGoalReached",
    "ExperimentFailed",
    "ExperimentMaxTrialsReached",
    "ExperimentSuggestionEndReached",
]


@dataclass(frozen=True)
class Ending:
    """How an experiment has ended.

    Attributes:
        succeeded: Whether it has.
        reason: Katib's word for it.
        message: A sentence.
    """

    succeeded: bool
    reason: Reason
    message: str


def ending_of(experiment: Experiment, trials: Sequence[Trial], *, nothing_left: bool) -> Ending | None:
    """How an experiment has ended; None while it goes on.

    Args:
        experiment: The experiment.
        trials: All of its trials.
        nothing_left: Whether the algorithm has no more to suggest.
    """
    best = best_of(experiment, trials)
    if best is not None and best.value is not None and experiment.objective.reached(best.value):
        text = f"{best.name} has reached the goal: {experiment.objective.metric}={best.value:g}."
        return Ending(True, "ExperimentGoalReached", text)
    failed = sum(trial.state in ("Failed", "MetricsUnavailable") for trial in trials)
    if failed and experiment.max_failed is not None and failed >= experiment.max_failed:
        most = experiment.max_failed
        text = f"{failed} of {len(trials)} trials have failed; maxFailedTrialCount is {most}."
        return Ending(False, "ExperimentFailed", text)
    running = sum(trial.state == "Running" for trial in trials)
    ended = len(trials) - running
    if experiment.max_trials is not None and ended >= experiment.max_trials:
        return Ending(True, "ExperimentMaxTrialsReached", f"All {ended} trials have ended.")
    if nothing_left and not running:
        text = f"All {ended} points of the space have been tried."
        return Ending(True, "ExperimentSuggestionEndReached", text)
    return None


def best_of(experiment: Experiment, trials: Sequence[Trial]) -> Trial | None:
    """The trial with the best value; the first of equals."""
    best: Trial | None = None
    for trial in trials:
        if trial.value is not None and (
            best is None or best.value is None or experiment.objective.better(trial.value, best.value)
        ):
            best = trial
    return best
