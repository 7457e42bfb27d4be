"""Judges labels of which an example may have several, or none: the mean over them of F1."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pocketkube.errors import UserError
from pocketkube.measures.counts import mean_overlap
from pocketkube.measures.measure import Judgement, Measure, Shape
from pocketkube.measures.wording import Wording, percent
from pocketkube.predictions import predicted_classes


@dataclass(frozen=True)
class MultiLabel(Measure):
    """Each of an output's units `[N, ..., C]` says whether an example has a label; labels are 0 or 1.

    The score is the macro F1: that of each of the C labels over all examples, at a probability of a
    half, and the mean of those. Most labels are absent from most examples, so that the part of the
    answers that is right would be high for a model that finds nothing; and a mean over labels counts
    the rare ones as much. An app has a threshold, too, which the area under a curve has not. A label
    that no example has and no output names is left out.

    Attributes:
        cut: What a unit has to exceed to say yes; None where its values are to tell (see
            `predicted_classes`).
    """

    cut: float | None = 0.5

    kind: ClassVar[str] = "multi_label"
    wording: ClassVar[Wording] = Wording("macro_f1", "macro F1", "F1", False, True, is_joint=True)
    agreement_name: ClassVar[str] = "agreement of labels"
    explanation: ClassVar[str] = (
        "The macro F1 is the mean over labels of their F1 at a probability of 0.5, each of all "
        "examples together; it also decides which epoch and which trial is the best."
    )

    def refuse_unfit(self, labels: np.ndarray, shape: Shape, origin: str, output: str) -> None:
        """See `Measure`."""
        if labels.shape[1:] != shape[1:]:
            raise UserError(
                f"{origin} holds labels of the shape {labels.shape[1:]} an example, but {output} gives "
                f"{shape[1:]}: give a 0 or 1 for each."
            )
        if not ((labels == 0) | (labels == 1)).all():
            other = labels[(labels != 0) & (labels != 1)][0]
            raise UserError(
                f"{origin} holds {other:g}, but each unit of {output} says whether an example has a "
                "label: give 0 and 1 alone."
            )

    def kept(self, output: np.ndarray) -> np.ndarray:
        """Yes and no in 8 bits, where what a unit has to exceed is known."""
        return output if self.cut is None else self._answers(output)

    def judge(self, labels: np.ndarray, kept: np.ndarray, shape: Shape) -> Judgement:
        """See `Measure`."""
        answers = self._answers(kept) if self.cut is None else kept
        truth = labels.reshape(answers.shape) > 0.5
        right = (answers == truth) & truth
        # An output that is no number is wrong whatever the label.
        wrong = answers != truth
        over = tuple(range(answers.ndim - 1))
        return Judgement(float(mean_overlap(2 * right.sum(axis=over), wrong.sum(axis=over))))

    def agreement_of(self, outputs: np.ndarray, wanted: np.ndarray) -> float:
        """See `Measure`: the part of the answers that are the same; what is no number is none."""
        ours, theirs = self._answers(outputs), self._answers(wanted)
        return float(((ours == theirs) & (ours >= 0)).mean())

    def agreed(self, share: float, examples: str) -> str:
        """See `Measure`."""
        return (
            f"The LiteRT file and its Keras model agree on {percent(share)} of all labels of "
            f"{examples}."
        )

    def _answers(self, outputs: np.ndarray) -> np.ndarray:
        """1 for yes, 0 for no, -1 where an output is no finite number."""
        return predicted_classes(outputs[..., np.newaxis], self.cut).astype(np.int8)
