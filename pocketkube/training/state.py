"""How far a course of training has come, and its checkpoints."""

import time
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from pocketkube.training.checkpoints import load_checkpoint, save_checkpoint
from pocketkube.training.course import Course
from pocketkube.training.finite import Applied
from pocketkube.training.history import Epoch
from pocketkube.training.values import assign_all, values_of
from pocketkube.training.workers import Workers

FIGURES = ("loss", "score", "val_loss", "val_score", "learning_rate")


@dataclass
class TrainState:
    """How far training has come. It is the same in all workers, however many they are.

    Attributes:
        epoch: Epochs that have ended.
        examples: Examples of the next one that are done, over all workers.
        sums: Over the steps of the next epoch: the loss, the score and their number.
        applied: How many steps changed the weights, with mixed precision.
        stopped: Whether training was ended before its last epoch.
        kept_epoch: The epoch whose weights are kept, from 1; 0 where there is none yet.
        kept: Its arrays, in the order of `Course.judged`; empty where there is none.
        best_score: The best validation score that an epoch had.
        best_each: The scores of that epoch's validation examples, `[n]`.
        figures: `FIGURES` of each epoch that has ended.
        seconds: How long it took up to the last checkpoint, in all processes that wrote one.
    """

    epoch: int = 0
    examples: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    applied: Applied = field(default_factory=Applied)
    stopped: bool = False
    kept_epoch: int = 0
    kept: list[np.ndarray] = field(default_factory=list)
    best_score: float = float("-inf")
    best_each: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    figures: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    seconds: float = 0.0

    def step(self, course: Course) -> int:
        """How many steps of the course are done."""
        return self.epoch * course.steps_per_epoch + self.examples // course.batch_size

    def is_complete(self, course: Course) -> bool:
        """Whether no step is left to do."""
        return self.stopped or self.epoch == course.settings.epochs

    def end_epoch(self, epoch: Epoch) -> None:
        """Goes on to the next epoch, remembering the figures of the one that has ended."""
        self.epoch, self.examples, self.sums = epoch.number, 0, [0.0, 0.0, 0.0]
        for name, values in self.figures.items():
            values.append(getattr(epoch, name))


def restore(course: Course) -> TrainState:
    """Sets the variables of a course to its checkpoint's.

    Returns:
        The state that belongs to them; that of the start where there is no checkpoint.
    """
    found = None
    if course.checkpoint is not None:
        found = load_checkpoint(course.checkpoint, course.identity, course.variables)
    if found is None:
        return TrainState()
    values: dict[str, Any] = found.state | {"applied": Applied(**found.state["applied"])}
    *kept, best_each = found.arrays
    return TrainState(**values, kept=kept, best_each=best_each)


class Commits:
    """What training goes back to where workers were lost: its last checkpoint.

    It is kept in memory where workers may change; where they stay, nothing is ever gone back to.

    Args:
        course: The course.
        state: Where it begins, or goes on; `course`'s variables are as it says.
        began: When this process began, by time.monotonic().

    Attributes:
        earlier_seconds: How long earlier processes took, which were interrupted.
    """

    def __init__(self, course: Course, state: TrainState, began: float) -> None:
        self._course, self._state, self._began = course, state, began
        self.earlier_seconds = state.seconds
        self._values: list[np.ndarray] | None = None

    def commit(self, state: TrainState, workers: Workers) -> None:
        """Remembers where training is, where workers may change, and writes the checkpoint.

        The first worker writes. Others that wait to take part may do so then.

        Raises:
            WorkersChanged: If they do; the commit is made.
        """
        state.seconds = self.earlier_seconds + time.monotonic() - self._began
        self.remember(state, workers)
        if self._course.checkpoint is not None and workers.rank == 0:
            values = asdict(state)
            arrays = [*values.pop("kept"), values.pop("best_each")]
            save_checkpoint(
                self._course.checkpoint, self._course.identity, values, self._course.variables, arrays
            )
        workers.check()

    def remember(self, state: TrainState, workers: Workers) -> None:
        """Remembers where training is, where workers may change."""
        self._state = state
        if workers.may_change:
            self._state = _copy(state)
            self._values = values_of(self._course.variables)

    def go_back(self) -> TrainState:
        """Sets the course's variables to those of the last commit; returns the state that was then."""
        if self._values is None:
            return self._state
        assign_all(self._course.variables, self._values)
        return _copy(self._state)


def _copy(state: TrainState) -> TrainState:
    # The arrays that are kept are replaced, never changed.
    return replace(deepcopy(replace(state, kept=[])), kept=state.kept)


def synchronize(course: Course, state: TrainState, workers: Workers) -> TrainState:
    """Gives every worker the first one's variables and state."""
    workers.broadcast(course.variables)
    synchronized: TrainState = workers.broadcast_object(state)
    return synchronized
