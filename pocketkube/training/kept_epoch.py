"""Keeps the weights of the last epoch that did as well as any on the validation examples."""

from collections.abc import Iterator
from contextlib import contextmanager

from pocketkube.measures.paired import is_worse
from pocketkube.training.course import Course
from pocketkube.training.evaluation import Scores
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
    # What is trained beside the model, as projections of features, is averaged, too.
    changed = [*course.judged, *course.distillation.trained]
    before = values_of(changed)
    _finish_average(course)
    course.method.finish()
    try:
        yield
    finally:
        assign_all(changed, before)


def keep_if_good(course: Course, state: TrainState, judged: Scores) -> None:
    """Keeps the weights as they are, unless they do worse than the best before by more than chance.

    The last epochs are trained at the lowest rates, and are the best ones as a rule. Of epochs that are
    equally good, some come out first on a few hundred or thousand examples by luck alone.

    Args:
        course: The course, its model finished.
        state: The state at the end of an epoch that is not counted as ended yet.
        judged: The epoch's scores on the validation examples.
    """
    final = course.method.has_final_form(state.step(course), course.steps)
    if course.settings.keep != "best" or not final:
        return
    if judged.score >= state.best_score:
        state.best_score, state.best_each = judged.score, judged.each
    elif not len(state.best_each) or is_worse(state.best_each, judged.each):
        return
    state.kept_epoch = state.epoch + 1
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
