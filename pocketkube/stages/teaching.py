"""Whom a spec makes a stage's model learn from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import keras

from pocketkube.bundle import Bundle, load_bundle, load_model
from pocketkube.data.dataset import Dataset
from pocketkube.distillation import FromTeachers, Teacher
from pocketkube.errors import UserError
from pocketkube.spec.sections import UNCOMPRESSED
from pocketkube.stages.configs import LearningConfig
from pocketkube.stages.facts import task_of
from pocketkube.stages.registry import TEACHER
from pocketkube.stages.tasks import settled_task
from pocketkube.training.lesson import Lesson
from pocketkube.training.task import Task


def load_teachers(
    config: LearningConfig, first: Path | Bundle, dataset: Dataset
) -> tuple[Teacher, ...]:
    """The teachers that a spec names, or the uncompressed model.

    Args:
        config: The stage's, its paths absolute.
        first: The bundle of the model that the job began with, or its folder.
        dataset: The data set, for the task of a .keras file.

    Returns:
        The teachers in the order of the spec; none where no term of distillation counts.

    Raises:
        UserError: If a teacher is missing, damaged, or does not fit the data set.
    """
    if not config.distillation.teaches:
        return ()
    return tuple(
        _uncompressed(first) if place == UNCOMPRESSED else _load(config, Path(place), dataset)
        for place in config.distillation.teachers or (UNCOMPRESSED,)
    )


def uncompressed(inputs: Mapping[str, Path]) -> Path:
    """The folder of the model that a job began with: the model itself where a stage has no teacher."""
    return inputs.get(TEACHER, inputs["model"])


def lesson_of(
    config: LearningConfig,
    student: keras.Model,
    task: Task,
    teachers: Sequence[Teacher],
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> Lesson:
    """What the teachers add to a stage's training.

    Args:
        config: The stage's.
        student: The model that is trained.
        task: Its task.
        teachers: Who teaches it.
        renamed: See `FromTeachers`.

    Raises:
        UserError: If a teacher does not fit the student.
    """
    if not teachers:
        return Lesson()
    return FromTeachers(student, task, teachers, config.distillation, seed=config.seed, renamed=renamed)


def _uncompressed(given: Path | Bundle) -> Teacher:
    bundle = given if isinstance(given, Bundle) else load_bundle(given)
    return Teacher("the uncompressed model", bundle.model, task_of(bundle.facts))


def _load(config: LearningConfig, place: Path, dataset: Dataset) -> Teacher:
    try:
        if place.is_dir():
            bundle = load_bundle(place)
            return Teacher(str(place), bundle.model, task_of(bundle.facts))
        model = load_model(place)
        return Teacher(str(place), model, settled_task(config, model, dataset))
    except UserError as error:
        raise UserError(f"distillation.teachers: {place}: {error}") from error
