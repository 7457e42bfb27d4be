"""What the API's functions that train have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from pocketkube.api.data import Data, dataset_of, has_labels
from pocketkube.api.keywords import settings_of, split
from pocketkube.api.network import AppliedStage, ModelLike, Network, network_of, refuse_order
from pocketkube.distillation import Teacher
from pocketkube.errors import UserError
from pocketkube.graph.surgery import copy_model
from pocketkube.spec.sections import ClusterWeights, QuantizeWeights
from pocketkube.spec.settings import Settings
from pocketkube.stages.begun import Begun
from pocketkube.stages.configs import Learning
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.training import notes_on, train_begun
from pocketkube.training.task import Task

Teachers: TypeAlias = ModelLike | Sequence[ModelLike] | None
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
        data: Examples with labels; may lack them where nothing is trained.
        kind: The stage's settings.
        teacher: Whose outputs are learnt, too; labels alone are if None.
        given: Keyword arguments: those of the stage, and of `Learning`.
        begin: From the network, the stage's settings and how it is trained to what is trained; what
            training changes must be no part of the network.

    Raises:
        UserError: If an argument is wrong, or data do not fit the model.
    """
    network = network_of(function, model)
    labelled = has_labels(data)
    if not labelled and "epochs" not in given and kind in UNTRAINED:
        given = {**given, "epochs": 0}
    own, others = split(given, kind, Learning)
    settings: Any = settings_of(function, kind, own)
    learning = settings_of(function, Learning, others)
    refuse_order(function, network, settings)
    if settings.epochs != 0 and not labelled:
        remedy = ", or epochs=0 to leave training out" if kind in UNTRAINED else ""
        raise UserError(f"{function}: trains, and needs labels for it; give data=(x, y){remedy}.")
    task = network.task
    dataset = dataset_of(data, network.model, function) if labelled else None
    if dataset is not None:
        task = settled_task(learning, network.model, dataset, known=task)
    begun, history = begin(network, settings, learning), None
    notes: list[str] = []
    if settings.epochs == 0:
        begun.method.finish()
    else:
        assert dataset is not None
        assert task is not None
        teachers = teachers_of(function, teacher, learning, task, dataset)
        history, notes = train_begun(begun, settings, learning, dataset, task, teachers)
    step = AppliedStage(settings, (*notes, *notes_on(begun)), history)
    return network.stepped(begun.model, step, forms=begun.method.forms, task=task)


def teachers_of(
    function: str, teacher: Teachers, learning: Learning, task: Task, dataset: Any
) -> list[Teacher]:
    """The teachers that a function was given.

    Args:
        function: The API's function, for messages.
        teacher: A model, several, or None.
        learning: Says which of their terms count.
        task: The student's task.
        dataset: Its labels say what a teacher's outputs are.
    """
    if learning.distillation.teachers:
        raise UserError(f"{function}: distillation.teachers: give models as teacher instead.")
    if teacher is None or not learning.distillation.teaches:
        return []
    several = [teacher] if isinstance(teacher, keras.Model | Network) else list(teacher)
    found = []
    for each in several:
        network = network_of(f"{function}: teacher", each)
        known = network.task or settled_task(learning, network.model, dataset)
        found.append(Teacher(network.model.name, network.model, known))
    return found


def copied(network: Network) -> keras.Model:
    """A copy of a network's model, which training may change."""
    return copy_model(network.model)
