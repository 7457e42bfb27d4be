"""The teachers of the model that a stage trains."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import keras

from pocketkube.bundle import Bundle, load_bundle, load_model
from pocketkube.data.dataset import Dataset
from pocketkube.distillation import FromTeachers, Teacher
from pocketkube.errors import UserError
from pocketkube.facts import BundleFacts, Parent
from pocketkube.graph.by_name import in_order, order_of
from pocketkube.graph.fixed_size import at_shapes
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections import UNCOMPRESSED
from pocketkube.stages.assessment import task_of
from pocketkube.stages.configs import Learning, LearningConfig
from pocketkube.stages.registry import TEACHER
from pocketkube.stages.sizes import at_size_of
from pocketkube.stages.tasks import settled_task
from pocketkube.storage import parse_location
from pocketkube.training.distillation_term import DistillationTerm
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
        UserError: If a teacher is missing, damaged, or does not fit the data set; or if there is
            nothing to learn from.
    """
    refuse_unteachable(config, dataset)
    if not config.distillation.teaches:
        return ()
    bundle = first if isinstance(first, Bundle) else load_bundle(first)
    return tuple(
        Teacher("the uncompressed model", bundle.model, task_of(bundle.facts))
        if place == UNCOMPRESSED
        else _load(config, place, dataset, bundle.model)
        for place in config.distillation.teachers or (UNCOMPRESSED,)
    )


def refuse_unteachable(config: Learning, dataset: Dataset) -> None:
    """Says when there is nothing to learn from: neither labels nor the outputs of a teacher.

    Raises:
        UserError: If there is not.
    """
    if dataset.drawn is not None and not config.distillation.weight:
        raise UserError(
            f"distillation: weight is 0, and {dataset.name} has no labels: teachers' outputs are all "
            "that there is to learn from; leave weight out."
        )


def uncompressed(inputs: Mapping[str, Path]) -> Path:
    """The folder of the model that a job began with: the model itself where a stage has no teacher."""
    return inputs.get(TEACHER, inputs["model"])


def teacher_parents(config: LearningConfig, first: BundleFacts) -> tuple[Parent, ...]:
    """Whom a stage's model learns from, as its lineage names them.

    Args:
        config: The stage's.
        first: Facts of the model that the job began with.
    """
    if not config.distillation.teaches:
        return ()
    return tuple(
        Parent(role="teacher", stage=first.made_by)
        if place == UNCOMPRESSED
        else Parent(role="teacher", place=place)
        for place in config.distillation.teachers or (UNCOMPRESSED,)
    )


def distillation_term(
    config: Learning,
    student: keras.Model,
    task: Task,
    teachers: Sequence[Teacher],
    dataset: Dataset,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> DistillationTerm:
    """What teachers add to the loss of a stage's training.

    Args:
        config: How the student is trained.
        student: The model that is trained.
        task: Its task.
        teachers: Its teachers.
        dataset: Its examples, whose shapes count where a model takes any.
        renamed: See `FromTeachers`.

    Raises:
        UserError: If a teacher does not fit the student.
    """
    if not teachers:
        return DistillationTerm()
    return FromTeachers(
        student,
        task,
        teachers,
        config.distillation,
        seed=config.seed,
        renamed=renamed,
        shapes=dataset.input_shapes,
    )


def _load(config: LearningConfig, place: str, dataset: Dataset, first: keras.Model) -> Teacher:
    """A teacher by its place; data are in the order of the first model's inputs and outputs."""
    try:
        with parse_location(place).fetched() as path:
            if path.is_dir() and not is_model_file(str(path)):
                bundle = load_bundle(path)
                # It was compressed at a size of its own, and takes any.
                takes_any = bool(bundle.facts.input_sizes)
                model = at_shapes(bundle.model, dataset.input_shapes) if takes_any else bundle.model
                order = order_of(model, first)
                task = task_of(bundle.facts).in_order(order.outputs)
                return Teacher(place, in_order(model, order), task)
            model = at_size_of(dataset, load_model(path)).model
            model = in_order(model, order_of(model, first))
        return Teacher(place, model, settled_task(config, model, dataset))
    except UserError as error:
        raise error.saying(f"distillation.teachers: {place}: {error}") from error
