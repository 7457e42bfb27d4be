"""What a sampler sees of the trials so far."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.trial import Trial

Choice = tuple[int, ...]


@dataclass(frozen=True)
class History:
    """The trials so far, in the order in which they were asked for.

    Attributes:
        choices: Those that ended with a score.
        scores: Their scores.
        failed: Those that failed, or gave no number.
        running: Those that run, or are asked for at once.
    """

    choices: tuple[Choice, ...] = ()
    scores: tuple[float, ...] = ()
    failed: tuple[Choice, ...] = ()
    running: tuple[Choice, ...] = ()

    @property
    def count(self) -> int:
        """How many trials there are, running and failed ones among them."""
        return len(self.choices) + len(self.failed) + len(self.running)

    @property
    def tried(self) -> frozenset[Choice]:
        """What must not be proposed again."""
        return frozenset((*self.choices, *self.failed, *self.running))

    @property
    def best(self) -> Choice | None:
        """The choice of the highest score, the first of equal ones."""
        return self.choices[int(np.argmax(self.scores))] if self.scores else None

    @property
    def worst_score(self) -> float:
        """What a failed trial counts as: the lowest score; 0 where there is none."""
        return min(self.scores, default=0.0)

    def narrowed(self, most: int) -> "History":
        """Of many trials with a score the best half and the latest of the others, in their order.

        Args:
            most: How many are left, where there are more.
        """
        if len(self.scores) <= most:
            return self
        order = np.argsort(-np.array(self.scores), kind="stable")
        best, others = order[: most // 2], np.sort(order[most // 2 :])
        kept = np.sort(np.concatenate([best, others[-(most - most // 2) :]]))
        return replace(
            self,
            choices=tuple(self.choices[place] for place in kept),
            scores=tuple(self.scores[place] for place in kept),
        )

    def with_running(self, choice: Choice) -> "History":
        """The same with one more that runs."""
        return replace(self, running=(*self.running, choice))


def history_of(problem: Problem, trials: Iterable[Trial]) -> History:
    """Sorts trials by what came of them; those of another space are left out.

    Args:
        problem: The search.
        trials: In any order.
    """
    choices, scores, failed, running = [], [], [], []
    for trial in sorted(trials, key=lambda each: (each.number, each.choice)):
        choice = tuple(map(int, trial.choice))
        if not problem.space.has(choice):
            continue
        if trial.state == "running":
            running.append(choice)
        elif trial.state == "done" and trial.score is not None and np.isfinite(trial.score):
            choices.append(choice)
            scores.append(float(trial.score))
        else:
            failed.append(choice)
    return History(tuple(choices), tuple(scores), tuple(failed), tuple(running))


def as_rows(choices: Sequence[Choice], parameters: int) -> np.ndarray:
    """Choices as one array, `[choices, parameters]`."""
    return np.array(choices, int).reshape(len(choices), parameters)
