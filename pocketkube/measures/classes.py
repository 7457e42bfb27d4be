"""Judges a classification: part of the examples whose most likely class is right."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pocketkube.errors import UserError
from pocketkube.measures.measure import Confusion, Judgement, Measure, Shape
from pocketkube.measures.wording import Wording, percent
from pocketkube.predictions import predicted_classes

# A confusion matrix of ImageNet's 1,000 classes would be a million numbers in every report.
_MOST_CONFUSABLE_CLASSES = 200


@dataclass(frozen=True)
class Classes(Measure):
    """Outputs are probabilities or logits `[N, ..., C]`, labels class numbers or rows over classes.

    Attributes:
        cut: What a single unit has to exceed to name the second of two classes; None where its values
            are to tell (see `predicted_classes`).
    """

    cut: float | None = None

    kind: ClassVar[str] = "classification"
    wording: ClassVar[Wording] = Wording("accuracy", "accuracy", "accuracy", False, True)
    agreement_name: ClassVar[str] = "top-1 agreement"

    def refuse_unfit(self, labels: np.ndarray, shape: Shape, origin: str, output: str) -> None:
        """See `Measure`."""
        example = shape[1:] or (1,)
        if np.issubdtype(labels.dtype, np.floating):
            if labels.shape[1:-1] != example[:-1] or not 0 < labels.shape[-1] <= example[-1]:
                raise UserError(
                    f"{origin} holds rows of the shape {labels.shape[1:]} an example, but {output} "
                    f"gives {example}: give class numbers, or a row over all classes."
                )
            return
        if labels[0].size != int(np.prod(example[:-1])):
            raise UserError(
                f"{origin} holds class numbers of the shape {labels.shape[1:]} an example, but "
                f"{output} gives {example}: one number for each row of classes."
            )
        least, most, count = int(labels.min()), int(labels.max()), _classes_of(shape)
        if least < 0 or most >= count:
            raise UserError(
                f"{origin}: class numbers run from {least} to {most}, but {output} tells {count} "
                f"classes apart, 0 to {count - 1}."
            )

    def kept(self, output: np.ndarray) -> np.ndarray:
        """Class numbers; a single unit's outputs, whose sense shows only when all are seen."""
        return output if _is_single(output.shape) else predicted_classes(output)

    def judge(self, labels: np.ndarray, kept: np.ndarray, shape: Shape) -> Judgement:
        """See `Measure`."""
        predicted = predicted_classes(kept, self.cut) if _is_single(shape) else kept
        if np.issubdtype(labels.dtype, np.floating):
            labels = predicted_classes(labels, 0.5)
        right = float((predicted == labels.reshape(predicted.shape)).mean())
        count, confusion = _classes_of(shape), None
        if count <= _MOST_CONFUSABLE_CLASSES:
            confusion = _confusion(labels.ravel(), predicted.ravel(), count)
        return Judgement(right, confusion)

    def agreement_of(self, outputs: np.ndarray, wanted: np.ndarray) -> float:
        """Part of the examples, or of their positions, that two outputs `[N, ...]` give one class."""
        ours, theirs = (predicted_classes(each, self.cut) for each in (outputs, wanted))
        return float((ours == theirs).mean())

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
