"""Whether data are what a model takes and can be judged by: seen before anything is done with them."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np

from pocketkube.data.batches import batches
from pocketkube.data.dataset import Arrays, Dataset, Examples
from pocketkube.finite import refuse_not_finite
from pocketkube.graph.example_shapes import example_shapes
from pocketkube.graph.inputs import refuse_unknown_ids
from pocketkube.shapes import refuse_other_shapes
from pocketkube.structure import arranged
from pocketkube.training.task import Task

_AT_ONCE = 256
# Labels that are looked at together: what a loss leaves out may be all that a few examples have.
_BYTES = 1 << 26


def refuse_other_inputs(dataset: Dataset, model: keras.Model) -> None:
    """Says when a model does not take a data set's inputs.

    Args:
        dataset: The data set.
        model: The model.

    Raises:
        UserError: If their number or a shape is another one, or one in memory has a number that an
            Embedding does not know.
    """
    wanted = [tuple(x.shape[1:]) for x in model.inputs]
    refuse_other_shapes(dataset.name, dataset.input_shapes, model.name, wanted)
    for split, examples in _splits(dataset):
        if examples.arrays is not None:
            refuse_unknown_ids(f"{dataset.name} ({split})", model, examples.arrays[0])


def refuse_other_labels(dataset: Dataset, model: keras.Model, task: Task) -> None:
    """Says when a model cannot be judged by a data set's labels, as far as these are in memory.

    Args:
        dataset: The data set.
        model: The model.
        task: What it is to learn.

    Raises:
        UserError: If labels are not what the task has.
    """
    for split, examples in _splits(dataset):
        if examples.arrays is not None:
            _refuse_labels(dataset, split, examples.arrays[1], model, task)


def refuse_bad_streams(dataset: Dataset, model: keras.Model, task: Task) -> None:
    """Reads all examples that are not in memory once, before hours of training come upon a bad one.

    Args:
        dataset: The data set.
        model: The model.
        task: What it is to learn.

    Raises:
        UserError: If an example cannot be read, an input is not finite, or a label is not what the task
            has.
    """
    for split, examples in _splits(dataset):
        if examples.arrays is not None:
            continue
        seen: list[Arrays] = []
        for inputs, labels in batches(examples, _AT_ONCE):
            arrays = [x.numpy() for x in inputs]
            refuse_not_finite(f"{dataset.name} ({split})", "inputs", arrays)
            refuse_unknown_ids(f"{dataset.name} ({split})", model, arrays)
            seen.append(tuple(y.numpy() for y in labels))
            if sum(y.nbytes for each in seen for y in each) >= _BYTES:
                _refuse_labels(dataset, split, _joined(seen), model, task)
                seen = []
        if seen:
            _refuse_labels(dataset, split, _joined(seen), model, task)


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _refuse_labels(
    dataset: Dataset, split: str, labels: Arrays, model: keras.Model, task: Task
) -> None:
    if not dataset.is_labelled:
        return
    own, shapes = labels[: len(dataset.labels)], _output_shapes(model, dataset)
    task.measure.refuse_unfit(own, shapes, f"{dataset.name} ({split})", model.name)


def _output_shapes(model: keras.Model, dataset: Dataset) -> list[tuple[int, ...]]:
    """Of the outputs for one example; what the model leaves open is as the data have it."""
    shapes = [tuple(output.shape[1:]) for output in model.outputs]
    if any(None in shape for shape in shapes):
        inputs = zip(dataset.input_shapes, model.inputs, strict=True)
        given = [keras.KerasTensor((None, *shape), dtype=x.dtype) for shape, x in inputs]
        arrays = dataset.train.arrays
        example = [x[:1] for x in arrays[0]] if arrays is not None else None
        shapes = example_shapes(lambda *x: model(arranged(model, x)), given, model.name, example)
    return [(1, *shape) for shape in shapes]


def _splits(dataset: Dataset) -> Iterator[tuple[str, Examples]]:
    yield "training", dataset.train
    yield "validation", dataset.validation
    yield "test", dataset.test
