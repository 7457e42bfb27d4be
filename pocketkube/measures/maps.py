"""Judges a segmentation: the mean over classes of the intersection over union."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pocketkube.measures.classes import Classes
from pocketkube.measures.counts import mean_overlap
from pocketkube.measures.measure import Judgement, Shape
from pocketkube.measures.wording import Wording, percent
from pocketkube.predictions import is_single, predicted_classes

# An example's output of so many axes is a class for each pixel: rows, columns and classes.
MAP_RANK = 3


@dataclass(frozen=True)
class Maps(Classes):
    """Outputs are a class for each pixel, `[N, H, W, C]`; see `Classes` for the labels.

    The score is the mean IoU of PASCAL VOC (Everingham et al., 2015): pixels of all images are counted
    together, class by class, and a class that is neither in the labels nor in the outputs is left out.
    A single unit tells the background and one class apart, both of which count.
    """

    kind: ClassVar[str] = "segmentation"
    wording: ClassVar[Wording] = Wording("mean_iou", "mean IoU", "mIoU", False, True, is_joint=True)
    agreement_name: ClassVar[str] = "pixel agreement"
    explanation: ClassVar[str] = (
        "The mean IoU is of the pixels of all examples together, class by class; it also decides which "
        "epoch and which trial is the best."
    )

    def kept(self, output: np.ndarray) -> np.ndarray:
        """Class numbers in 16 bits, where the sense of a single unit is known."""
        if is_single(output.shape) and self.cut is None:
            return output
        return predicted_classes(output, self.cut).astype(np.int16)

    def judge(self, labels: np.ndarray, kept: np.ndarray, shape: Shape) -> Judgement:
        """See `Measure`; the part of the pixels that are right stands beside the score."""
        predicted = predicted_classes(kept) if is_single(shape) and self.cut is None else kept
        accuracy, confusion, right, wrong = self._counted(labels, predicted, shape)
        return Judgement(float(mean_overlap(right, wrong)), confusion, (("pixel accuracy", accuracy),))

    def agreed(self, share: float, examples: str) -> str:
        """See `Measure`."""
        return (
            f"The LiteRT file and its Keras model name the same class for {percent(share)} of the "
            f"pixels of {examples}."
        )
