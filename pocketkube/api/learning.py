"""What the API's functions that train have in common."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

import keras

from pocketkube.api.data import Data, are_split, dataset_of, examples_of, labelled_by
from pocketkube.api.keywords import settings_of, split
from pocketkube.api.network import (
    AppliedStage,
    ModelLike,
    Network,
    in_order_of,
    network_of,
    refuse_order,
)
from pocketkube.api.value_range import refuse_teachers_of_other_range, refuse_unknown_range
from pocketkube.data.dataset import Dataset
from pocketkube.distillation import Teacher
from pocketkube.distillation.enclosed import enclosed
from pocketkube.errors import UserError
from pocketkube.graph.not_called import naming_what_cannot_be_called
from pocketkube.graph.surgery import copy_model
from pocketkube.spec.sections import ClusterWeights, QuantizeWeights
from pocketkube.spec.settings import Settings
from pocketkube.stages.begun import Begun
from pocketkube.stages.configs import Learning
from pocketkube.stages.tasks import padded, settled_task
from pocketkube.stages.teaching import refuse_unteachable
from pocketkube.stages.training import notes_on, train_begun
from pocketkube.training.task import Task

Teachers: TypeAlias = ModelLike | Iterable[ModelLike] | None
# What can be iterated over, but is no several teachers.
_NOT_SEVERAL = (str, bytes, PathLike, Mapping, keras.Model, Network)
# Stages that may do their work without training.
UNTRAINED = (ClusterWeights, QuantizeWeights)


def learn(
    function: str,
    model: ModelLike,
    data: Data,
    kind: type[Settings],
    teacher: Teachers,
    given: Mapping[str, Any],
    begin: Callable[[Network, Any, Learning], Begun],
) -> Network:
    """Trains a copy of a model with a stage's method, or finishes it without training.

    Args:
        function: The API's function, for messages.
        model: The model; it is left as it is.
        data: Examples; without labels what the original model answers stands in for them.
        kind: The stage's settings.
        teacher: Whose outputs are learnt, too. If None labels alone are, or without any the outputs of
            the model that the first call was given.
        given: Keyword arguments: those of the stage, and of `Learning`.
        begin: From the network, the stage's settings and how it is trained to what is trained; what
            training changes must be no part of the network.

    Raises:
        UserError: If an argument is wrong, or data do not fit the model.
    """
    network = network_of(function, model)
    teachers = several(teacher, function, network.model)
    if not are_split(data) and not teachers and "epochs" not in given and kind in UNTRAINED:
        given = {**given, "epochs": 0}
    own, others = split(given, kind, Learning)
    settings: Any = settings_of(function, kind, own)
    learning = settings_of(function, Learning, others)
    refuse_order(function, network, settings)
    with naming_what_cannot_be_called(network.model):
        dataset, task = _examples(function, network, data, settings, teachers, learning), network.task
        if dataset is not None:
            refuse_unknown_range(function, network, dataset, learning, is_taught=bool(teachers))
            if settings.epochs != 0:
                strangers = [each for each in teachers if each.original is not network.original]
                refuse_teachers_of_other_range(function, strangers, dataset, learning)
            # What a call says itself counts, and else what an earlier one has found.
            known = task if learning.task is None else None
            task = settled_task(learning, network.model, dataset, known=known)
        begun, history = begin(network, settings, learning), None
        notes: list[str] = []
        if settings.epochs == 0:
            begun.method.finish()
        else:
            assert dataset is not None
            assert task is not None
            if not teachers and not dataset.is_labelled:
                teachers = several(network.original, function)
            taught = teachers_of(function, teachers, learning, task, dataset)
            history, notes = train_begun(begun, settings, learning, dataset, task, taught)
            notes = [*padded(network.model, task), *notes]
    step = AppliedStage(settings, (*notes, *notes_on(begun)), history)
    return network.stepped(begun.model, step, forms=begun.method.forms, task=task)


def _examples(
    function: str,
    network: Network,
    data: Data,
    settings: Any,
    teachers: Sequence[Network],
    learning: Learning,
) -> Dataset | None:
    """The data as a model is trained and judged by them; None where there are none, nor need be."""
    if settings.epochs == 0:
        return None if data is None else examples_of(data, network.model, function)
    remedy = ", or epochs=0 to leave training out" if type(settings) in UNTRAINED else ""
    if data is None:
        raise UserError(f"{function}: trains, and needs data for it; give (x, y) or x{remedy}.")
    original = None if network.original is network.model else network.original
    if original is None and teachers:
        original = teachers[0].model
    dataset = dataset_of(data, network.model, function)
    return labelled_by(original, dataset, learning, function, remedy)


def several(teacher: Teachers, function: str, student: keras.Model | None = None) -> list[Network]:
    """Teachers as networks.

    Args:
        teacher: A model, several in whatever can be iterated over once, or None.
        function: The API's function, for messages.
        student: What it takes is what a subclassed teacher is called with; without, such are refused.
            Its inputs and outputs are in the order that the teachers are brought into.
    """
    if isinstance(teacher, Iterable) and not isinstance(teacher, _NOT_SEVERAL):
        given = list(teacher)
    else:
        given = [teacher]
    given = [each for each in given if each is not None]
    if student is not None:
        given = [enclosed(each, student) if isinstance(each, keras.Model) else each for each in given]
    networks = [network_of(f"{function}: teacher", each) for each in given]
    return networks if student is None else [in_order_of(each, student) for each in networks]


def teachers_of(
    function: str, teachers: Sequence[Network], learning: Learning, task: Task, dataset: Dataset
) -> list[Teacher]:
    """What a student is taught by.

    Args:
        function: The API's function, for messages.
        teachers: The teachers, if any.
        learning: Says which of their terms count.
        task: The student's task.
        dataset: Its labels say what a teacher's outputs are.
    """
    if learning.distillation.teachers:
        raise UserError(f"{function}: distillation.teachers: give models as teacher instead.")
    refuse_unteachable(learning, dataset)
    if not learning.distillation.teaches:
        return []
    found = []
    for network in teachers:
        known = network.task or settled_task(learning, network.model, dataset)
        found.append(Teacher(network.model.name, network.model, known))
    return found


def copied(network: Network) -> keras.Model:
    """A copy of a network's model, which training may change."""
    return copy_model(network.model)
