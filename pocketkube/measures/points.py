"""Judges landmarks: the mean distance of the points, over a length in each image."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from pocketkube.errors import UserError
from pocketkube.measures.measure import Judgement, Shape
from pocketkube.measures.values import Values
from pocketkube.measures.wording import Wording

Normalizer = Literal["box_size", "box_diagonal"] | tuple[int, int]


@dataclass(frozen=True)
class Points(Values):
    """Labels and outputs are K points, `[N, K, 2]` or `[N, 2K]` with x and y in turn, in any unit.

    The score is minus the normalised mean error (NME) as face alignment reports it: 300-W divides
    by the distance of the outer eye corners (Sagonas et al., 2013), others by the size of a box
    (Bulat and Tzimiropoulos, 2017). Agreement with a model is that of values.

    Attributes:
        normalize_by: The true points whose distance an image's errors are divided by; or
            "box_size", the root of the area of the box around all of them, or "box_diagonal".
    """

    normalize_by: Normalizer = "box_size"

    kind: ClassVar[str] = "landmarks"
    wording: ClassVar[Wording] = Wording("negative_nme", "normalised mean error", "NME", True, True)

    def __post_init__(self) -> None:
        by = self.normalize_by
        boxes, pair = ("box_size", "box_diagonal"), isinstance(by, tuple) and len(by) == 2
        if by not in boxes and not (pair and all(isinstance(n, int) and n >= 0 for n in by)):
            raise ValueError(f"normalize_by: {by!r} is neither {' nor '.join(boxes)} nor two points")

    def refuse_unfit(self, labels: np.ndarray, shape: Shape, origin: str, output: str) -> None:
        """See `Measure`; also where a normaliser has no length."""
        points = labels
        if points.ndim == 1 and np.issubdtype(points.dtype, np.integer):
            raise UserError(
                f"task: landmarks are floats, [N, K, 2] or [N, 2K], but the labels of {origin} are "
                "class numbers."
            )
        example = points.shape[1:]
        pairs = example[1:] == (2,) if len(example) == 2 else len(example) == 1 and example[0] % 2 == 0
        if not pairs:
            raise UserError(
                f"task: landmarks are floats, [N, K, 2] or [N, 2K], but the labels of {origin} have "
                f"the shape {example} an example, which cannot be points."
            )
        count, shape_of_one = math.prod(example) // 2, shape[1:]
        if None in shape_of_one or math.prod(shape_of_one) != 2 * count:
            raise UserError(
                f"task: {origin} has {count} landmarks, which are {2 * count} numbers an example, but "
                f"{output} gives {shape_of_one}."
            )
        if not isinstance(self.normalize_by, str) and max(self.normalize_by) >= count:
            raise UserError(
                f"task.landmarks.normalize_by: {list(self.normalize_by)} names a point beyond the "
                f"{count} of {origin}, which are 0 to {count - 1}."
            )
        empty = np.flatnonzero(~(normalizers(points, self.normalize_by) > 0))
        if empty.size:
            raise UserError(
                f"task.landmarks.normalize_by: {_named(self.normalize_by)} has no length in "
                f"{empty.size} of {len(points)} examples of {origin}, the first of them example "
                f"{empty[0]}; name two points that are apart, or box_diagonal."
            )

    def judge(self, labels: np.ndarray, kept: np.ndarray, shape: Shape) -> Judgement:
        """See `Measure`."""
        # In double precision, as squares of what has diverged are beyond single.
        truth, given = labels.astype(np.float64), kept.astype(np.float64)
        return Judgement(-float(normalized_errors(truth, given, self.normalize_by).mean()))


def normalized_errors(labels: Any, outputs: Any, by: Normalizer, ops: Any = np) -> Any:
    """Each example's mean distance between points and true ones, over its normaliser.

    Args:
        labels: The true points, `[N, K, 2]` or `[N, 2K]`.
        outputs: The points to judge, of either shape.
        by: The normaliser.
        ops: Whose arrays these are: NumPy, or keras.ops.

    Returns:
        `[N]`, no unit.
    """
    apart = as_points(labels, ops) - as_points(outputs, ops)
    distances = ops.sqrt(ops.sum(ops.square(apart), axis=-1))
    return ops.mean(distances, axis=-1) / normalizers(labels, by, ops)


def normalizers(labels: Any, by: Normalizer, ops: Any = np) -> Any:
    """The length `[N]` that each example's errors are divided by, in the points' unit."""
    points = as_points(labels, ops)
    if not isinstance(by, str):
        one, other = by
        return ops.sqrt(ops.sum(ops.square(points[:, one] - points[:, other]), axis=-1))
    sides = ops.max(points, axis=1) - ops.min(points, axis=1)
    if by == "box_size":
        return ops.sqrt(sides[:, 0] * sides[:, 1])
    return ops.sqrt(ops.sum(ops.square(sides), axis=-1))


def as_points(values: Any, ops: Any = np) -> Any:
    """`[N, K, 2]` of either shape."""
    return ops.reshape(values, (-1, math.prod(values.shape[1:]) // 2, 2))


def _named(by: Normalizer) -> str:
    return by if isinstance(by, str) else f"from point {by[0]} to point {by[1]}"
