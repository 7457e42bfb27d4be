"""A task: directions, judged by the angle between what is found and what is true."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pocketkube.errors import UserError
from pocketkube.measures import Values
from pocketkube.measures.measure import Judgement, Shape
from pocketkube.measures.wording import Wording
from pocketkube.spec.sections import AddedTask

if TYPE_CHECKING:
    import keras

    from pocketkube.data import Dataset
    from pocketkube.training.heads import Head
    from pocketkube.training.task import Task


@dataclass(frozen=True)
class Angles(Values):
    """Labels are directions `[N, 2]` of length 1; the score is minus the mean angle, in radians."""

    kind: ClassVar[str] = "direction"
    wording: ClassVar[Wording] = Wording("negative_angle", "mean angle", "angle", True, False)

    def refuse_unfit(self, labels: np.ndarray, shape: Shape, origin: str, output: str) -> None:
        """See `Measure`."""
        if labels.shape[1:] != (2,):
            raise UserError(f"task: directions are [N, 2]; those of {origin} are {labels.shape}.")
        super().refuse_unfit(labels, shape, origin, output)

    def judge(self, labels: np.ndarray, kept: np.ndarray, shape: Shape) -> Judgement:
        """See `Measure`."""
        return Judgement(-float(angles(labels, kept.reshape(labels.shape), np).mean()))


class Direction(AddedTask):
    """Directions in the plane, learnt by the mean squared error."""

    measure = Angles

    @classmethod
    def head(cls) -> type["Head"]:
        """See `AddedTask`."""
        from pocketkube_bars.head import DirectionHead

        return DirectionHead

    def task(self, model: "keras.Model", dataset: "Dataset") -> "Task":
        """See `AddedTask`."""
        import keras

        from pocketkube.structure import output_names
        from pocketkube.training.task import Task

        head = self.head()(output_names(model)[0], Angles(), keras.losses.MeanSquaredError())
        return Task((head,), "mean squared error of the directions")


def angles(labels: Any, outputs: Any, ops: Any) -> Any:
    """Angles between directions, `[N]`, in radians.

    Args:
        labels: `[N, 2]`.
        outputs: `[N, 2]`, of any length.
        ops: Whose arrays these are: NumPy, or keras.ops.
    """
    along = ops.sum(labels * outputs, axis=-1)
    across = labels[..., 0] * outputs[..., 1] - labels[..., 1] * outputs[..., 0]
    return ops.abs(ops.arctan2(across, along))
