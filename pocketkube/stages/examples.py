"""A data set with labels for a stage: its own, or what the model answers that a job began with."""

from dataclasses import replace
from pathlib import Path

import keras

from pocketkube.bundle import Bundle, load_bundle
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Dataset, Examples
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.errors import UserError
from pocketkube.stages.assessment import task_of
from pocketkube.stages.fitting import refuse_other_inputs, refuse_other_labels
from pocketkube.training.answers import answered
from pocketkube.training.task import Task


def labelled(
    dataset: Dataset, task: Task, first: Path | Bundle, model: keras.Model | None = None
) -> Dataset:
    """The data set as a stage trains and judges its model by it.

    Args:
        dataset: As the spec's section says.
        task: The model's, which was settled when the job began.
        first: The bundle of the model that the job began with, or its folder.
        model: The stage's model, which has to take the data; None where it is yet to be made for them.

    Raises:
        UserError: If there are labels now and there were none then, or the other way round; or the data
            are none for the model, as where the job began with others.
    """
    if model is not None:
        refuse_other_inputs(dataset, model)
    has_labels = bool(dataset.labels)
    if has_labels == task.to_original:
        then, now = ("without", "has some") if has_labels else ("with", "has none")
        raise UserError(
            f"dataset: the model was loaded {then} labels, but {dataset.name} {now}: begin with the "
            "stage that loads or trains it."
        )
    if has_labels:
        if model is not None:
            refuse_other_labels(dataset, model, task)
        return dataset
    bundle = first if isinstance(first, Bundle) else load_bundle(first)
    refuse_other_inputs(dataset, bundle.model)
    return answered(dataset, bundle.model, task_of(bundle.facts))


def some_of(dataset: Dataset, count: int, seed: int) -> Dataset:
    """The same data set with `count` examples of each split at most."""

    def taken(examples: Examples) -> Examples:
        return examples_of_arrays(*materialize(examples, count, seed), examples.labels)

    train, validation, test = map(taken, (dataset.train, dataset.validation, dataset.test))
    return replace(dataset, train=train, validation=validation, test=test)
