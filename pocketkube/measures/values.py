"""Judges a regression: the mean absolute error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pocketkube.errors import UserError
from pocketkube.measures.measure import Judgement, Measure, Shape
from pocketkube.measures.wording import Wording, percent


@dataclass(frozen=True)
class Values(Measure):
    """Labels are values to be met, of the outputs' shape."""

    kind: ClassVar[str] = "regression"
    wording: ClassVar[Wording] = Wording("negative_mae", "mean absolute error", "MAE", True, False)
    agreement_name: ClassVar[str] = "share of variance kept"

    def refuse_unfit(self, labels: np.ndarray, shape: Shape, origin: str, output: str) -> None:
        """See `Measure`."""
        if labels[0].size != int(np.prod(shape[1:])):
            raise UserError(
                f"{origin} holds values of the shape {labels.shape[1:]} an example, but {output} gives "
                f"{shape[1:]}."
            )

    def judge(self, labels: np.ndarray, kept: np.ndarray, shape: Shape) -> Judgement:
        """See `Measure`."""
        # In double precision, as sums of what has diverged are beyond single.
        errors = np.abs(kept.reshape(labels.shape).astype(np.float64) - labels)
        return Judgement(-float(errors.mean()))

    def agreed(self, share: float, examples: str) -> str:
        """See `Measure`."""
        return (
            f"The LiteRT file gives back {percent(share)} of the variance of its Keras model's "
            f"outputs on {examples}."
        )
