"""Judges a classification: part of the examples whose most likely class is right."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pocketkube.errors import UserError
from pocketkube.measures.measure import Confusion, Judgement, Measure, Shape
from pocketkube.measures.wording import Wording, percent
from pocketkube.predictions import are_one_hot, class_numbers, is_single, predicted_classes

# A confusion matrix of ImageNet's 1,000 classes would be a million numbers in every report.
_MOST_CONFUSABLE_CLASSES = 200


@dataclass(frozen=True)
class Classes(Measure):
    """Outputs are probabilities or logits `[N, ..., C]`, labels class numbers or rows over classes.

    Attributes:
        cut: What a single unit has to exceed to name the second of two classes; None where its values
            are to tell (see `predicted_classes`).
        ignore: A label that does not count, as 255 at the edges of PASCAL VOC's objects; None where all
            do.
    """

    cut: float | None = None
    ignore: int | None = None

    kind: ClassVar[str] = "classification"
    wording: ClassVar[Wording] = Wording("accuracy", "accuracy", "accuracy", False, True)
    agreement_name: ClassVar[str] = "top-1 agreement"

    def refuse_unfit(self, labels: np.ndarray, shape: Shape, origin: str, output: str) -> None:
        """See `Measure`."""
        example, count = shape[1:] or (1,), _classes_of(shape)
        if labels.ndim == 1 + len(example) and labels.shape[-1] > 1:
            one_hot = are_one_hot(labels)
            wide = labels.shape[-1] > count if one_hot else labels.shape[-1] != count
            if labels.shape[1:-1] != example[:-1] or wide:
                raise UserError(
                    f"{origin} holds rows of the shape {labels.shape[1:]} an example, but {output} "
                    f"gives {example}: give class numbers, or a row over all classes."
                )
            if not one_hot and (labels.min() < 0 or labels.max() > 1):
                raise UserError(
                    f"{origin} holds rows with numbers from {labels.min():g} to {labels.max():g}, but "
                    f"{output} tells {count} classes apart: give each class's share, from 0 to 1."
                )
            return
        if labels[0].size != int(np.prod(example[:-1])):
            raise UserError(
                f"{origin} holds class numbers of the shape {labels.shape[1:]} an example, but "
                f"{output} gives {example}: one number for each row of classes."
            )
        counted = labels[labels != self.ignore]
        if not counted.size:
            raise UserError(f"{origin} holds no label beside {self.ignore}, which does not count.")
        if not is_single(shape) and (np.rint(counted) != counted).any():
            broken = counted[np.rint(counted) != counted][0]
            raise UserError(
                f"{origin} holds {broken:g}, but {output} tells {count} classes apart: give whole "
                "numbers, or a row over all classes."
            )
        least, most = int(np.floor(counted.min())), int(np.ceil(counted.max()))
        if least < 0 or most >= count:
            raise UserError(
                f"{origin}: class numbers run from {least} to {most}, but {output} tells {count} "
                f"classes apart, 0 to {count - 1}."
            )

    def kept(self, output: np.ndarray) -> np.ndarray:
        """Class numbers; a single unit's outputs, whose sense shows only when all are seen."""
        return output if is_single(output.shape) else predicted_classes(output)

    def judge(self, labels: np.ndarray, kept: np.ndarray, shape: Shape) -> Judgement:
        """See `Measure`."""
        predicted = predicted_classes(kept, self.cut) if is_single(shape) else kept
        accuracy, confusion, _, _ = self._counted(labels, predicted, shape)
        return Judgement(accuracy, confusion)

    def agreement_of(self, outputs: np.ndarray, wanted: np.ndarray) -> float:
        """Part of the examples, or of their positions, that two outputs `[N, ...]` give one class.

        What is no number gives none.
        """
        ours, theirs = (predicted_classes(each, self.cut) for each in (outputs, wanted))
        return float(((ours == theirs) & (ours >= 0)).mean())

    def agreed(self, share: float, examples: str) -> str:
        """See `Measure`."""
        return (
            f"The LiteRT file and its Keras model name the same class for {percent(share)} of "
            f"{examples}."
        )

    def _counted(
        self, labels: np.ndarray, predicted: np.ndarray, shape: Shape
    ) -> tuple[float, Confusion | None, np.ndarray, np.ndarray]:
        """The part that is right, which is taken for which, and by class what is right and wrong."""
        truth, named = class_numbers(labels, shape).ravel(), predicted.ravel()
        if self.ignore is not None:
            counted = truth != self.ignore
            truth, named = truth[counted], named[counted]
        count, right, known = _classes_of(shape), truth == named, named >= 0
        confusion = None
        if count <= _MOST_CONFUSABLE_CLASSES:
            confusion = _confusion(truth[known], named[known], count)
        hits = np.bincount(truth[right], minlength=count)
        either = np.bincount(truth, minlength=count) + np.bincount(named[known], minlength=count)
        return float(right.mean()), confusion, hits, either - 2 * hits


def _classes_of(shape: Shape) -> int:
    """One unit tells two classes apart."""
    return 2 if is_single(shape) else shape[-1]


def _confusion(truth: np.ndarray, named: np.ndarray, count: int) -> Confusion:
    found = np.bincount(truth * count + named, minlength=count**2).reshape(count, count)
    return tuple(tuple(int(value) for value in row) for row in found)
