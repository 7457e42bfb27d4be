"""Scores a LiteRT file on test examples, through the interpreter."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pocketkube.benchmark.samples import Samples
from pocketkube.errors import UserError
from pocketkube.litert import LiteRTModel
from pocketkube.predictions import predicted_classes

# A confusion matrix of ImageNet's 1,000 classes would be a million numbers in every report.
_MOST_CONFUSABLE_CLASSES = 200

Confusion = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Score:
    """How right a file is.

    Attributes:
        name: "accuracy" or "negative_mae".
        value: Part of the examples whose most likely class is right, or minus the mean absolute
            error; the mean over the outputs.
        confusion: Of the first output: rows are the true classes, columns the predicted ones;
            outputs that are no numbers are in no column. None for regression and beyond 200 classes.
    """

    name: str
    value: float
    confusion: Confusion | None


def score_file(
    model: LiteRTModel, samples: Samples, after_each: Callable[[], None] = lambda: None
) -> Score:
    """Runs a file on all examples and compares with their labels.

    Labels that are integers are class numbers; floats are values to be met.

    Args:
        model: The file, loaded.
        samples: Examples with labels for every output.
        after_each: Called after each example.

    Returns:
        The score.

    Raises:
        UserError: If labels do not fit the outputs.
    """
    _refuse_labels_that_do_not_fit(model, samples)
    classes = [np.issubdtype(labels.dtype, np.integer) for labels in samples.labels]
    gathered: list[list[np.ndarray]] = [[] for _ in classes]
    for outputs in model.predict(samples.inputs):
        for kept, output, is_class in zip(gathered, outputs, classes, strict=True):
            # Class numbers take less room than what they come from; a single unit's sense shows
            # only when all examples are seen.
            reduce = is_class and output.ndim > 1 and output.shape[-1] > 1
            kept.append(predicted_classes(output) if reduce else output)
        after_each()
    values, confusion = [], None
    for position, (kept, labels, is_class) in enumerate(
        zip(gathered, samples.labels, classes, strict=True)
    ):
        given = np.concatenate(kept)
        if not is_class:
            values.append(-float(np.abs(given.reshape(labels.shape) - labels).mean()))
            continue
        count = _classes_of(model.output_shapes[position])
        predicted = predicted_classes(given) if count == 2 and _is_single(model, position) else given
        labels = labels.reshape(predicted.shape)
        values.append(float((predicted == labels).mean()))
        if position == 0 and count <= _MOST_CONFUSABLE_CLASSES:
            confusion = _confusion(labels.ravel(), predicted.ravel(), count)
    name = "accuracy" if all(classes) else "negative_mae"
    return Score(name=name, value=float(np.mean(values)), confusion=confusion)


def _refuse_labels_that_do_not_fit(model: LiteRTModel, samples: Samples) -> None:
    origin, labels = samples.origin, samples.labels
    if len(labels) != len(model.output_shapes):
        raise UserError(
            f"{origin} has labels for {len(labels)} outputs, but {model.name} has "
            f"{len(model.output_shapes)}; give y0, y1, ... in their order."
        )
    if len({np.issubdtype(array.dtype, np.integer) for array in labels}) > 1:
        raise UserError(f"{origin}: labels must be all class numbers or all values, not some of each.")
    for position, (array, shape) in enumerate(zip(labels, model.output_shapes, strict=True)):
        example = shape[1:]
        if not np.issubdtype(array.dtype, np.integer):
            if array[0].size != int(np.prod(example)):
                raise UserError(
                    f"{origin}: labels of output {position} have the shape {array.shape[1:]} an "
                    f"example, but {model.name} gives {example}."
                )
            continue
        if array[0].size != int(np.prod(example[:-1])):
            raise UserError(
                f"{origin}: class numbers of output {position} have the shape {array.shape[1:]} an "
                f"example, but {model.name} gives {example}: one number for each row of classes."
            )
        least, most, count = int(array.min()), int(array.max()), _classes_of(shape)
        if least < 0 or most >= count:
            raise UserError(
                f"{origin}: class numbers run from {least} to {most}, but {model.name} tells {count} "
                f"classes apart, 0 to {count - 1}."
            )


def _is_single(model: LiteRTModel, position: int) -> bool:
    shape = model.output_shapes[position]
    return len(shape) < 2 or shape[-1] == 1


def _classes_of(shape: tuple[int, ...]) -> int:
    """One unit tells two classes apart."""
    return 2 if len(shape) < 2 or shape[-1] == 1 else shape[-1]


def _confusion(labels: np.ndarray, predicted: np.ndarray, count: int) -> Confusion:
    matrix = np.zeros((count, count), np.int64)
    known = predicted >= 0
    np.add.at(matrix, (labels[known], predicted[known]), 1)
    return tuple(tuple(int(value) for value in row) for row in matrix)
