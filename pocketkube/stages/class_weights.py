"""Weights of classes, so that the loss counts rare ones as much as frequent ones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import keras
import numpy as np

from pocketkube.data.dataset import Arrays, Dataset
from pocketkube.data.reading import read
from pocketkube.errors import UserError
from pocketkube.measures import MultiLabel, label_places
from pocketkube.predictions import class_numbers
from pocketkube.training.class_heads import ClassHead
from pocketkube.training.head import Head
from pocketkube.training.task import Task

Weights = Literal["balanced"] | Sequence[float] | None


def with_class_weights(task: Task, weights: Weights, model: keras.Model, dataset: Dataset) -> Task:
    """The task with a weight for each class of the outputs that tell classes apart.

    Balanced weights are `examples / (classes * examples of the class)`, as scikit-learn's are (King and
    Zeng, 2001); of maps pixels are counted. A class without examples counts 1.

    Args:
        task: The task.
        weights: "balanced", or a number for each class; None leaves the task as it is.
        model: The model.
        dataset: Its training examples are counted.

    Raises:
        UserError: If no output tells classes apart, or there is not a weight for each class.
    """
    if weights is None:
        return task
    weighted = [_has_classes(head) for head in task.heads]
    if not any(weighted):
        raise UserError(
            "training: class_weights: no output tells classes apart, one for each example or position; "
            "leave it out."
        )
    if weights != "balanced":
        return replace(task, heads=tuple(_with(head, tuple(weights)) for head in task.heads))
    scored = [head.loss is not None for head in task.heads]
    places = iter(label_places(scored, len(dataset.labels), dataset.name, "the model"))
    labels, heads = _labels(dataset), []
    for head, output in zip(task.heads, model.outputs, strict=True):
        place = next(places) if head.loss is not None else None
        if place is not None and isinstance(head, ClassHead) and _has_classes(head):
            heads.append(_with(head, _balanced(head, labels[place], tuple(output.shape))))
        else:
            heads.append(head)
    return replace(task, heads=tuple(heads))


def _labels(dataset: Dataset) -> Arrays:
    """The training labels of each output."""
    if dataset.train.arrays is not None:
        return dataset.train.arrays[1]
    train = dataset.train
    streamed = train.open().map(lambda *raw: train.decode(*raw)[1]).batch(1024)
    found = read(streamed.as_numpy_iterator(), dataset.train.explain)
    columns = zip(*found, strict=True)
    return tuple(np.concatenate(column) for column in columns)


def _has_classes(head: Head) -> bool:
    return isinstance(head, ClassHead) and head.kind != MultiLabel.kind and head.loss is not None


def _with(head: Head, weights: tuple[float, ...]) -> Head:
    if not _has_classes(head):
        return head
    assert isinstance(head, ClassHead)
    if len(weights) > head.num_classes:
        raise UserError(
            f"training: class_weights: output {head.name} tells {head.num_classes} classes apart; "
            f"received {len(weights)} weights."
        )
    missing = (1.0,) * (head.num_classes - len(weights))
    return replace(head, class_weights=(*weights, *missing))


def _balanced(head: ClassHead, labels: np.ndarray, shape: tuple[int, ...]) -> tuple[float, ...]:
    counts = np.zeros(head.num_classes, np.int64)
    for part in np.array_split(labels, max(1, labels.size // 2**24)):
        numbers = class_numbers(part, shape).ravel()
        counted = numbers[numbers != head.measure.ignore]
        counts += np.bincount(counted, minlength=head.num_classes)
    there = counts > 0
    found = counts.sum() / (there.sum() * np.maximum(counts, 1))
    return tuple(np.where(there, found, 1.0).tolist())
