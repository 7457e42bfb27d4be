"""Scores a LiteRT file on test examples, through the interpreter."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pocketkube.benchmark.samples import Samples
from pocketkube.errors import UserError
from pocketkube.litert import LiteRTModel
from pocketkube.measures import Classes, Judged, Measure, Values


@dataclass(frozen=True)
class Score:
    """How right a file is.

    Attributes:
        measure: What judged it, and how its score is read.
        judged: The score over all examples.
    """

    measure: Measure
    judged: Judged


def score_file(
    model: LiteRTModel, samples: Samples, after_each: Callable[[], None] = lambda: None
) -> Score:
    """Runs a file on all examples and compares with their labels.

    Where the examples do not tell their task, labels that are integers are class numbers and floats
    are values to be met.

    Args:
        model: The file, loaded.
        samples: Examples with labels for every output.
        after_each: Called after each example.

    Returns:
        The score.

    Raises:
        UserError: If labels do not fit the outputs.
    """
    shapes, labels = model.output_shapes, samples.labels
    if len(labels) != len(shapes):
        raise UserError(
            f"{samples.origin} has labels for {len(labels)} outputs, but {model.name} has "
            f"{len(shapes)}; give y0, y1, ... in their order."
        )
    measure = samples.measure or _inferred(samples)
    measure.refuse_unfit(labels, shapes, samples.origin, model.name)
    kept: list[list[np.ndarray]] = [[] for _ in shapes]
    for outputs in model.predict(samples.inputs):
        for rows, output in zip(kept, outputs, strict=True):
            rows.append(measure.kept(output))
        after_each()
    return Score(measure, measure.judge(labels, [np.concatenate(rows) for rows in kept], shapes))


def _inferred(samples: Samples) -> Measure:
    whole = all(np.issubdtype(labels.dtype, np.integer) for labels in samples.labels)
    return Classes() if whole else Values()
