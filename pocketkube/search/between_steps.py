"""Scores a trial between steps of its fine-tuning, so that one that does badly can be ended early."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pocketkube.spec.searched import SCORES
from pocketkube.training.method import Method

# Takes a trial's score between steps.
OnScore = Callable[[float], None]


def steps_between(steps: int) -> frozenset[int]:
    """After how many steps a score is told, before that of the last one.

    Args:
        steps: How many there are.
    """
    found = {round(steps * part / SCORES) for part in range(1, SCORES)}
    return frozenset(found - {0, steps})


class ScoredBetween(Method):
    """Scores the model as if training ended there, and leaves no trace in what training gives.

    Args:
        method: The method that the model is trained by beside this one.
        variables: The model's.
        score: The score of the model as it is, the method finished; the model may be changed.
        on_score: Takes it.
    """

    def __init__(
        self,
        method: Method,
        variables: Sequence[Any],
        score: Callable[[], float],
        on_score: OnScore,
    ) -> None:
        self._method, self._score, self._on_score = method, score, on_score
        self._changed = [*variables, *method.trained, *method.variables]

    def before_step(self, step: int, steps: int, optimizer: Any) -> None:
        """See `Method`."""
        if step not in steps_between(steps):
            return
        before = [np.array(each) for each in self._changed]
        self._method.finish()
        self._on_score(self._score())
        for variable, value in zip(self._changed, before, strict=True):
            variable.assign(value)
