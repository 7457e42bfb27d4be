"""Keeps the weights of the epoch that did best on the validation examples."""

from collections.abc import Iterator
from contextlib import contextmanager

from pocketkube.training.course import Course
from pocketkube.training.method import Method
from pocketkube.training.state import TrainState
from pocketkube.training.values import assign_all, values_of
from pocketkube.training.workers import Workers


@contextmanager
def finished(course: Course) -> Iterator[None]:
    """The model as it would be if training ended here; afterwards it is as it was."""
    if course.settings.ema is None and type(course.method) is Method:
        yield
        return
    before = values_of(course.judged)
    _finish_average(course)
    course.method.finish()
    try:
        yield
    finally:
        assign_all(course.judged, before)


def keep_if_best(course: Course, state: TrainState, val_score: float) -> None:
    """Keeps the weights as they are, where no epoch before did better; of equals the later one's.

    Args:
        course: The course, its model finished.
        state: The state at the end of an epoch that is not counted as ended yet.
        val_score: The epoch's validation score.
    """
    final = course.method.has_final_form(state.step(course), course.steps)
    if course.settings.keep == "best" and final and val_score >= state.kept_score:
        state.kept_epoch, state.kept_score = state.epoch + 1, val_score
        state.kept = values_of(course.judged)


def end_with_kept(course: Course, state: TrainState, workers: Workers) -> None:
    """Gives the model the weights that were kept; those it has where none were.

    May be called again: of a course that has ended, weights are read back from its checkpoint, but not
    what the method found in finishing it.
    """
    if state.kept_epoch == 0:
        state.kept_epoch = state.epoch
        _finish_average(course)
    elif state.kept:
        assign_all(course.judged, state.kept)
        workers.broadcast(course.judged)
    course.method.finish()
    state.kept = []


def _finish_average(course: Course) -> None:
    if course.settings.ema is not None:
        course.optimizer.finalize_variable_values(course.trained)
