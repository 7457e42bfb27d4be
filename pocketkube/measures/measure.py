"""What every measure answers of one output of a model."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from pocketkube.measures.wording import Wording, agreement_wording

Shape = tuple[int, ...]
Confusion = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Judgement:
    """How right an output is.

    Attributes:
        score: The higher the better.
        confusion: Rows are the true classes, columns the predicted ones; outputs that are no numbers
            are in no column. None where there are no classes, or more than 200.
        also: Further shares that people ask for, by what they are called.
    """

    score: float
    confusion: Confusion | None = None
    also: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Measure(ABC):
    """Judges one output by its labels, and a converted file's output by its model's.

    Attributes:
        to_original: Whether labels are what the original model answers, for want of others: the score
            then says how far outputs agree with it, not how right they are.
        kind: The task that it measures, as facts name it.
        wording: How its score is read where labels are true; see `read_as`.
        agreement_name: What a file's share of agreement with its model is.
        explanation: A sentence on the score, where its name does not say all; else empty.
    """

    to_original: bool = field(default=False, kw_only=True)

    kind: ClassVar[str]
    wording: ClassVar[Wording]
    agreement_name: ClassVar[str]
    explanation: ClassVar[str] = ""

    @property
    def read_as(self) -> Wording:
        """How its score is read, whatever the labels are."""
        return agreement_wording(self.wording) if self.to_original else self.wording

    @abstractmethod
    def refuse_unfit(self, labels: np.ndarray, shape: Shape, origin: str, output: str) -> None:
        """Checks labels against what a model gives.

        Args:
            labels: `[N, ...]`.
            shape: Of the output, with the batch axis.
            origin: What messages call the labels, as in "faces.npz".
            output: What they call the output, as in "net" or "output odd of net".

        Raises:
            UserError: If the output cannot be judged by these labels.
        """

    def kept(self, output: np.ndarray) -> np.ndarray:
        """What of one example's output `[1, ...]` the score needs; it may take less room."""
        return output

    @abstractmethod
    def judge(self, labels: np.ndarray, kept: np.ndarray, shape: Shape) -> Judgement:
        """Judges what was `kept` of all examples.

        Args:
            labels: `[N, ...]`, not refused.
            kept: What was kept, `[N, ...]`.
            shape: Of the output, with the batch axis.
        """

    def agreement_of(self, outputs: np.ndarray, wanted: np.ndarray) -> float | None:
        """The part of what two outputs `[N, ...]` say that is the same; None where they are values."""
        return None

    @abstractmethod
    def agreed(self, share: float, examples: str) -> str:
        """A sentence that tells how far a LiteRT file agrees with its Keras model.

        Args:
            share: Of agreement; 1 is in full, 0 not at all.
            examples: Of what, as in "297 test examples".
        """
