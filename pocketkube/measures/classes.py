"""Judges a classification: part of the examples whose most likely class is right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pocketkube.errors import UserError
from pocketkube.measures.measure import Confusion, Judged, Measure, Shape
from pocketkube.measures.wording import Wording, percent
from pocketkube.predictions import predicted_classes

# A confusion matrix of ImageNet's 1,000 classes would be a million numbers in every report.
_MOST_CONFUSABLE_CLASSES = 200


@dataclass(frozen=True)
class Classes(Measure):
    """Labels are class numbers `[N, ...]`, outputs probabilities or logits `[N, ..., C]`."""

    kind: ClassVar[str] = "classification"
    wording: ClassVar[Wording] = Wording("accuracy", "accuracy", "accuracy", False, True)
    agreement_name: ClassVar[str] = "top-1 agreement"

    def refuse_unfit(
        self, labels: Sequence[np.ndarray], shapes: Sequence[Shape], origin: str, model: str
    ) -> None:
        """See `Measure`."""
        for position, (array, shape) in enumerate(zip(labels, shapes, strict=True)):
            example = shape[1:]
            if not np.issubdtype(array.dtype, np.integer):
                raise UserError(
                    f"{origin}: labels must be all class numbers or all values, not some of each."
                )
            if array[0].size != int(np.prod(example[:-1])):
                raise UserError(
                    f"{origin}: class numbers of output {position} have the shape {array.shape[1:]} "
                    f"an example, but {model} gives {example}: one number for each row of classes."
                )
            least, most, count = int(array.min()), int(array.max()), _classes_of(shape)
            if least < 0 or most >= count:
                raise UserError(
                    f"{origin}: class numbers run from {least} to {most}, but {model} tells {count} "
                    f"classes apart, 0 to {count - 1}."
                )

    def kept(self, output: np.ndarray) -> np.ndarray:
        """Class numbers; a single unit's outputs, whose sense shows only when all are seen."""
        return output if _is_single(output.shape) else predicted_classes(output)

    def judge(
        self, labels: Sequence[np.ndarray], outputs: Sequence[np.ndarray], shapes: Sequence[Shape]
    ) -> Judged:
        """See `Measure`; the mean over the outputs."""
        predicted = [
            predicted_classes(kept) if _is_single(shape) else kept
            for kept, shape in zip(outputs, shapes, strict=True)
        ]
        right = [
            float((ours == theirs.reshape(ours.shape)).mean())
            for ours, theirs in zip(predicted, labels, strict=True)
        ]
        count, confusion = _classes_of(shapes[0]), None
        if count <= _MOST_CONFUSABLE_CLASSES:
            confusion = _confusion(labels[0].ravel(), predicted[0].ravel(), count)
        return Judged(float(np.mean(right)), confusion)

    def agreement_of(self, given: np.ndarray, wanted: np.ndarray) -> float:
        """Part of the examples (of the positions, where there are some) that get the same class."""
        return float((predicted_classes(given) == predicted_classes(wanted)).mean())

    def agreed(self, share: float, examples: str) -> str:
        """See `Measure`."""
        return (
            f"The LiteRT file and its Keras model name the same class for {percent(share)} of "
            f"{examples}."
        )


def _is_single(shape: Shape) -> bool:
    return len(shape) < 2 or shape[-1] == 1


def _classes_of(shape: Shape) -> int:
    """One unit tells two classes apart."""
    return 2 if _is_single(shape) else shape[-1]


def _confusion(labels: np.ndarray, predicted: np.ndarray, count: int) -> Confusion:
    matrix = np.zeros((count, count), np.int64)
    known = predicted >= 0
    np.add.at(matrix, (labels[known], predicted[known]), 1)
    return tuple(tuple(int(value) for value in row) for row in matrix)
