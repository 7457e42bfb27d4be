"""Refuses data whose images are in another range of values than a model was trained with."""

from collections.abc import Sequence

import keras

from pocketkube.api.network import Network
from pocketkube.data.dataset import Arrays, Dataset
from pocketkube.measures import TaskMeasure
from pocketkube.stages.chance import (
    EXAMPLES,
    LARGEST_OUTPUTS,
    outputs_on,
    same_answers,
    some_examples,
    untold,
)
from pocketkube.stages.configs import Learning
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.value_range import CLEARLY_MORE, SKILLED, OtherRange, refuse_other_range
from pocketkube.training.evaluation import fitting_batch

_QUESTION = "are x, its range of values, and y, if any, those that the model was trained with?"
ARRAYS = "pass {formula}, for arrays are taken as they are"
SETTING = (
    'give data with value_range, as in {"npz": "data.npz", "value_range": {range}}, or arrays, which '
    "are taken as they are"
)


def refuse_unknown_range(
    function: str,
    network: Network,
    dataset: Dataset,
    learning: Learning | None = None,
    *,
    is_taught: bool = False,
) -> None:
    """Says when the model that the first call was given knows images in another range.

    Args:
        function: The API's function, for messages.
        network: The model, and what was done to it.
        dataset: The data; those without labels tell nothing.
        learning: Says what the outputs are, where labels do not tell.
        is_taught: Whether teachers are asked, too. What another tool has cut may do better in a range
            that it was never in: then it has to know that range as a trained model does.

    Raises:
        UserError: If its score is clearly better in another one of the usual ranges.
    """
    if not dataset.is_labelled:
        return
    settings, model = learning or Learning(), network.original
    task = settled_task(settings, model, dataset, known=network.task)
    least = SKILLED if is_taught else CLEARLY_MORE
    try:
        refuse_other_range(model, dataset, task, settings.seed, least=least)
    except OtherRange as error:
        raise error.remedied(ARRAYS, SETTING, function) from error


def refuse_teachers_of_other_range(
    function: str, teachers: Sequence[Network], dataset: Dataset, learning: Learning
) -> None:
    """Says when a teacher knows images in another range than the student is shown.

    Args:
        function: The API's function, for messages.
        teachers: The teachers.
        dataset: The data; those without labels tell nothing.
        learning: Says what the outputs are, where labels do not tell.

    Raises:
        UserError: If a teacher's score is clearly better in another one of the usual ranges.
    """
    for each in teachers if dataset.is_labelled and learning.distillation.teaches else ():
        model = each.original
        task = settled_task(learning, model, dataset, known=each.task)
        try:
            refuse_other_range(model, dataset, task, learning.seed, f"the teacher {model.name}")
        except OtherRange as error:
            raise error.saying(
                f"{function}: {error.found}: a teacher is shown what the student is: give one that "
                "knows that range, or put a layer Rescaling before it."
            ) from error


def at_chance(network: Network, dataset: Dataset) -> list[str]:
    """A sentence, without its end, for each output of the first call's model that tells nothing."""
    model = network.original
    task = network.task or settled_task(Learning(), model, dataset)
    inputs, labels = some_examples(model, dataset, 0)
    return untold(task.measure, labels, outputs_on(model, inputs), dataset.name)


def unvarying(model: keras.Model, inputs: Arrays, measure: TaskMeasure) -> list[str]:
    """A sentence, without its end, for each output that is all but the same on some of the inputs."""
    count = fitting_batch(model, EXAMPLES, LARGEST_OUTPUTS)
    some = tuple(x[:count] for x in inputs)
    return same_answers(measure, outputs_on(model, some), "examples")


def asked(doubts: Sequence[str]) -> tuple[str, ...]:
    """Such sentences with what to look at."""
    return tuple(f"{sentence}: {_QUESTION}" for sentence in doubts)
