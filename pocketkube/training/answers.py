"""Data without labels: what an original model answers stands in for them."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import prod

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.batches import batches, calibration_examples
from pocketkube.data.dataset import Arrays, Dataset, Examples, Labels, Tensors
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.errors import UserError
from pocketkube.graph.not_called import naming_what_cannot_be_called
from pocketkube.structure import arranged
from pocketkube.traceable import refuse_untraceable
from pocketkube.training.class_heads import ClassHead, MultiLabelHead
from pocketkube.training.head import Head
from pocketkube.training.task import Task
from pocketkube.training.workers import Workers, shared

BATCH = 256
# Bytes of answers that are held in memory at most; beyond it is a file without a name.
IN_MEMORY = 2**30

# From a batch of inputs to what the original says, softened by 1, for each head that is trained.
Said = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]


def answered(dataset: Dataset, model: keras.Model, task: Task) -> Dataset:
    """A data set whose labels are what an original model answers.

    Validation and test examples have its answers as labels: the likeliest class, of each pixel where
    outputs are maps, a 0 or 1 for each of several labels, and values as they are. Training examples
    have none, for their labels are what teachers answer to each batch, changed at random as it may
    be; see `FromTeachers`. Where labels of training examples are looked at, `Dataset.drawn` gives them.

    Args:
        dataset: Inputs alone.
        model: The original model.
        task: Its task.

    Raises:
        UserError: If it answers with numbers that are not finite, or cannot be judged by its answers.
    """
    said = _said(model, task, dataset.input_shapes)
    validation, test = (
        _labelled(examples, said, task, f"{dataset.name} ({name})", model)
        for name, examples in (("validation", dataset.validation), ("test", dataset.test))
    )

    drawn = partial(drawn_labels, model, task)
    return replace(dataset, labels=test.labels, validation=validation, test=test, drawn=drawn)


def drawn_labels(model: keras.Model, task: Task, inputs: Arrays, seed: int) -> Arrays:
    """Labels drawn from what an original model says, by which training examples are looked at.

    Args:
        model: The original model.
        task: Its task.
        inputs: Arrays with a leading axis of examples.
        seed: The draws follow from it.

    Returns:
        See `Head.drawn`.
    """
    said = _said(model, task, [x.shape[1:] for x in inputs])
    rows = range(0, len(inputs[0]), BATCH)
    parts = [said([tf.constant(x[at : at + BATCH]) for x in inputs]) for at in rows]
    columns = zip(*parts, strict=True)
    return task.drawn([np.concatenate([part.numpy() for part in each]) for each in columns], seed)


def calibration_by(
    original: keras.Model, task: Task, dataset: Dataset, count: int, seed: int
) -> tuple[Arrays, Arrays]:
    """Training examples to calibrate on, whether they have labels or an original model draws some.

    Args:
        original: The original model; not asked where there are labels.
        task: Its task.
        dataset: The data set.
        count: How many to choose at random.
        seed: The choice follows from it, and the draws.
    """
    if not dataset.labels:
        dataset = replace(dataset, drawn=partial(drawn_labels, original, task))
    return calibration_examples(dataset, count, seed)


def _said(model: keras.Model, task: Task, shapes: Sequence[tuple[int, ...]]) -> Said:
    refuse_untraceable(model)

    def softened(*inputs: tf.Tensor) -> list[tf.Tensor]:
        return task.softened(model(arranged(model, inputs), training=False), 1.0)

    specs = [
        tf.TensorSpec((None, *shape), x.dtype) for shape, x in zip(shapes, model.inputs, strict=True)
    ]
    # A function for each model is meant; TensorFlow warns of those that trace when they are called.
    with naming_what_cannot_be_called(model):
        traced = tf.function(softened, autograph=False).get_concrete_function(*specs)

    def said(inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        with naming_what_cannot_be_called(model):
            return traced(*(tf.cast(x, spec.dtype) for x, spec in zip(inputs, specs, strict=True)))

    return said


def _labelled(examples: Examples, said: Said, task: Task, origin: str, model: keras.Model) -> Examples:
    def all_labels(workers: Workers) -> Arrays:
        labels: Arrays = ()
        for start, found in _answers(examples, said, task, origin, model.name, workers):
            labels = labels or tuple(_empty((examples.size, *y.shape[1:]), y.dtype) for y in found)
            for whole, part in zip(labels, found, strict=True):
                whole[start : start + len(part)] = part
        return labels

    labels = shared(all_labels)
    shapes = [tuple(output.shape) for output in model.outputs]
    if not any(None in shape[1:] for shape in shapes):
        told = f"what {model.name} answers on {origin}"
        task.measure.refuse_unfit(labels, shapes, told, model.name)
    kinds = tuple(_kind(head, y) for head, y in zip(task.trained, labels, strict=True))
    if examples.arrays is not None:
        return examples_of_arrays(examples.arrays[0], labels, kinds)
    of_place = _by_place(labels)
    return replace(
        examples,
        open=lambda: examples.open().enumerate(),
        decode=lambda place, raw, **part: (examples.decode(*raw, **part)[0], of_place(place)),
        labels=kinds,
    )


def _answers(
    examples: Examples, said: Said, task: Task, origin: str, name: str, workers: Workers
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The place of each batch and its labels; each worker computes a part, and all share them."""
    own = batches(examples, BATCH, rank=workers.rank, ranks=workers.size)
    for number, (inputs, _) in enumerate(own):
        start = number * BATCH
        size = min(BATCH, examples.size - start)
        found = []
        for head, part in zip(task.trained, said(inputs), strict=True):
            if not np.isfinite(part.numpy()).all():
                raise UserError(
                    f"{origin}: there are no labels, and output {head.name} of {name} is not finite on "
                    f"some of the examples {start} to {start + size - 1}: are they what it learnt from?"
                )
            labels = head.answers(part)
            whole = np.zeros((size, *labels.shape[1:]), labels.dtype.as_numpy_dtype)
            whole[workers.rank :: workers.size] = labels
            found.append(np.asarray(workers.total(tf.constant(whole))))
        yield start, found


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if prod(shape) * dtype.itemsize <= IN_MEMORY:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def _kind(head: Head, labels: np.ndarray) -> Labels:
    if isinstance(head, MultiLabelHead):
        return Labels(None, shape=labels.shape[1:], whole=(0, 1))
    if isinstance(head, ClassHead):
        return Labels(head.num_classes, shape=labels.shape[1:], whole=(0, head.num_classes - 1))
    return Labels(None, shape=labels.shape[1:])


def _by_place(labels: Arrays) -> Callable[[tf.Tensor], Tensors]:
    """From an example's place to its labels."""
    specs = [tf.TensorSpec(y.shape[1:], y.dtype) for y in labels]

    def of_place(place: tf.Tensor) -> Tensors:
        rows = tf.numpy_function(
            lambda n: [y[n] for y in labels], [place], [spec.dtype for spec in specs], stateful=False
        )
        return tuple(tf.ensure_shape(y, s.shape) for y, s in zip(rows, specs, strict=True))

    return of_place
