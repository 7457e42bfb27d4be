"""Judges a regression: the mean absolute error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pocketkube.errors import UserError
from pocketkube.measures.measure import Judged, Measure, Shape
from pocketkube.measures.wording import Wording, percent


@dataclass(frozen=True)
class Values(Measure):
    """Labels are values to be met, of the outputs' shape."""

    kind: ClassVar[str] = "regression"
    wording: ClassVar[Wording] = Wording("negative_mae", "mean absolute error", "MAE", True, False)
    agreement_name: ClassVar[str] = "share of variance kept"

    def refuse_unfit(self, labels: np.ndarray, shape: Shape, origin: str, output: str) -> None:
        """See `Measure`."""
        if np.issubdtype(labels.dtype, np.integer):
            raise UserError(
                f"{origin} holds integers, which are class numbers, but {output} gives values: save "
                "values as floats."
            )
        if labels[0].size != int(np.prod(shape[1:])):
            raise UserError(
                f"{origin} holds values of the shape {labels.shape[1:]} an example, but {output} gives "
                f"{shape[1:]}."
            )

    def judge(self, labels: np.ndarray, kept: np.ndarray, shape: Shape) -> Judged:
        """See `Measure`."""
        return Judged(-float(np.abs(kept.reshape(labels.shape) - labels).mean()))

    def agreement_of(self, given: np.ndarray, wanted: np.ndarray) -> float:
        """`1 - sum (given - wanted)² / sum (wanted - mean)²`.

        That is the part of the output's variance which is given back, not below 0.
        """
        return _variance_kept(given, wanted)

    def agreed(self, share: float, examples: str) -> str:
        """See `Measure`."""
        return (
            f"The LiteRT file gives back {percent(share)} of the variance of its Keras model's "
            f"outputs on {examples}."
        )


def _variance_kept(given: np.ndarray, wanted: np.ndarray) -> float:
    given, wanted = given.astype(np.float64), wanted.astype(np.float64)
    error = float(np.square(given - wanted).sum())
    spread = float(np.square(wanted - wanted.mean(axis=0)).sum())
    if not np.isfinite(error):
        return 0.0
    # One example, or a constant output, has no spread: then its size is the measure.
    spread = spread or float(np.square(wanted).sum())
    if spread == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return max(0.0, 1.0 - error / spread)
