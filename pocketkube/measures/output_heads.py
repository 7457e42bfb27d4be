"""Judges all outputs of a model: each by its own measure, and together where they have one unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocketkube.errors import UserError
from pocketkube.measures.classes import Classes
from pocketkube.measures.maps import MAP_RANK, Maps
from pocketkube.measures.measure import Confusion, Measure, Shape
from pocketkube.measures.multi_label import MultiLabel
from pocketkube.measures.values import Values
from pocketkube.measures.wording import Wording, agreement_wording, percent
from pocketkube.predictions import are_one_hot, is_single

# Of outputs without a common unit: what the model is trained for says how they count.
NO_UNIT = Wording("negative_loss", "loss", "loss", True, False)


@dataclass(frozen=True)
class HeadMeasure:
    """How one output is judged.

    Attributes:
        name: The output's.
        measure: Says how right it is, and how far a file's output is the model's.
        scored: Whether there are labels for it.
    """

    name: str
    measure: Measure
    scored: bool = True


@dataclass(frozen=True)
class HeadScore:
    """How right one output is.

    Attributes:
        name: The output's.
        score_name: What machines call the score.
        score: The higher the better.
        confusion: See `Judgement`.
        also: See `Judgement`.
    """

    name: str
    score_name: str
    score: float
    confusion: Confusion | None = None
    also: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class TaskScore:
    """How right a model is.

    Attributes:
        score: The mean of its outputs' scores; None where they are in different units.
        heads: The score of each output that has labels.
    """

    score: float | None
    heads: tuple[HeadScore, ...]


@dataclass(frozen=True)
class TaskMeasure:
    """How a model's outputs are judged, in their order.

    Attributes:
        heads: One for each output.
    """

    heads: tuple[HeadMeasure, ...]

    @property
    def wording(self) -> Wording:
        """How the score of all is read; that of a loss where the outputs have no common unit."""
        if not self.has_one_unit:
            return agreement_wording(NO_UNIT) if self.to_original else NO_UNIT
        return next(head.measure.read_as for head in self.heads if head.scored)

    @property
    def has_one_unit(self) -> bool:
        """Whether all outputs that are scored are so in one unit."""
        return len({head.measure.wording for head in self.heads if head.scored}) == 1

    @property
    def to_original(self) -> bool:
        """Whether labels are what the original model answers; see `Measure`."""
        return any(head.measure.to_original for head in self.heads if head.scored)

    def refuse_unfit(
        self, labels: Sequence[np.ndarray], shapes: Sequence[Shape], origin: str, model: str
    ) -> None:
        """Checks labels against what a model gives.

        Args:
            labels: One array `[N, ...]` for each output, or for each that is scored.
            shapes: Shape of each output, with the batch axis.
            origin: What messages call the labels' source.
            model: What they call the model.

        Raises:
            UserError: If an output cannot be judged by its labels.
        """
        if len(shapes) != len(self.heads):
            raise UserError(f"{model} has {len(shapes)} outputs, but its task {len(self.heads)}.")
        several = len(self.heads) > 1
        for number, place in self._scored(labels, origin, model):
            head = self.heads[place]
            y = f"{origin}: y{number}" if several else origin
            output = f"output {head.name} of {model}" if several else model
            head.measure.refuse_unfit(labels[number], shapes[place], y, output)

    def kept(self, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What of one example's outputs the scores need, for each output that is scored."""
        return [
            head.measure.kept(output)
            for head, output in zip(self.heads, outputs, strict=True)
            if head.scored
        ]

    def judge(
        self, labels: Sequence[np.ndarray], kept: Sequence[np.ndarray], shapes: Sequence[Shape]
    ) -> TaskScore:
        """Judges what was `kept` of all examples.

        Args:
            labels: As in `refuse_unfit`.
            kept: `[N, ...]` for each output that is scored.
            shapes: Shape of each output, with the batch axis.
        """
        found = []
        for rows, (number, place) in zip(
            kept, self._scored(labels, "the labels", "the model"), strict=True
        ):
            head = self.heads[place]
            judged = head.measure.judge(labels[number], rows, shapes[place])
            name, confusion, also = head.measure.read_as.score_name, judged.confusion, judged.also
            if head.measure.to_original:
                # The original's answers are no truth, and what agrees with them is not right.
                confusion, also = None, ()
            found.append(HeadScore(head.name, name, judged.score, confusion, also))
        mean = float(np.mean([head.score for head in found])) if self.has_one_unit else None
        return TaskScore(mean, tuple(found))

    def agreed(self, share: float, examples: str) -> str:
        """A sentence that tells how far a LiteRT file agrees with its Keras model."""
        if len({head.measure.kind for head in self.heads}) == 1:
            return self.heads[0].measure.agreed(share, examples)
        return (
            f"On {examples}, each of the LiteRT file's outputs agrees with its Keras model's to "
            f"{percent(share)} at least."
        )

    def _scored(self, labels: Sequence[np.ndarray], origin: str, model: str) -> list[tuple[int, int]]:
        """Number of the labels and place of each output that is scored."""
        scored = [head.scored for head in self.heads]
        places = [place for place, is_scored in enumerate(scored) if is_scored]
        return list(zip(label_places(scored, len(labels), origin, model), places, strict=True))


def label_places(scored: Sequence[bool], labels: int, origin: str, model: str) -> list[int]:
    """Which labels are those of each output that is scored.

    Args:
        scored: For each output, whether it is.
        labels: How many arrays of labels there are: one for each output, or each that is scored.
        origin: What messages call the labels' source.
        model: What they call the model.

    Raises:
        UserError: If it is neither.
    """
    if labels == len(scored):
        return [place for place, is_scored in enumerate(scored) if is_scored]
    if labels == sum(scored):
        return list(range(labels))
    counted = f"{len(scored)} outputs" if len(scored) != 1 else "1 output"
    trained = "" if all(scored) else f", {sum(scored)} of them with a loss"
    raise UserError(
        f"{origin} has labels for {labels} outputs, but {model} has {counted}{trained}: give y0, y1, … "
        "in their order."
    )


def measure_of_labels(labels: Sequence[np.ndarray], shapes: Sequence[Shape]) -> TaskMeasure:
    """How outputs are judged where no task is known.

    Integers, flags and one-hot rows are classes, of each pixel where there is a row of classes for
    each; other zeros and ones, as many as there are units, are labels of which an example may have
    several; other floats are values.

    Args:
        labels: One array `[N, ...]` for each output.
        shapes: Shape of each output, with the batch axis.
    """
    return TaskMeasure(
        tuple(
            HeadMeasure(f"y{number}", _measure_of(array, shape))
            for number, (array, shape) in enumerate(zip(labels, shapes, strict=True))
        )
    )


def _measure_of(labels: np.ndarray, shape: Shape) -> Measure:
    is_map, one_hot = len(shape) > MAP_RANK, are_one_hot(labels)
    if labels.shape[1:] == shape[1:] and not one_hot and (is_map or not is_single(shape)):
        if not ((labels == 0) | (labels == 1)).all():
            return Values()
        return Maps() if is_single(shape) else MultiLabel(None)
    if labels.dtype.kind in "iub" or one_hot:
        return Maps() if is_map else Classes()
    return Values()
