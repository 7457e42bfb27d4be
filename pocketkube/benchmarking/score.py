"""Scores a LiteRT file on test examples, through the interpreter."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pocketkube.benchmarking.samples import Samples
from pocketkube.errors import UserError
from pocketkube.litert.running import LiteRTModel
from pocketkube.measures import TaskScore, Wording, measure_of_labels


@dataclass(frozen=True)
class Score:
    """How right a file is.

    Attributes:
        wording: How the score of all outputs is read.
        judged: The score over all examples, and that of each output.
    """

    wording: Wording
    judged: TaskScore


def score_file(
    model: LiteRTModel, samples: Samples, after_each: Callable[[], None] = lambda: None
) -> Score:
    """Runs a file on all examples and compares with their labels.

    Where the examples do not tell their task, labels and outputs do: see `measure_of_labels`.

    Args:
        model: The file, loaded.
        samples: Examples with labels for every output, or every one that their task scores.
        after_each: Called after each example.

    Returns:
        The score.

    Raises:
        UserError: If labels do not fit the outputs.
    """
    shapes, labels = model.output_shapes, samples.labels
    if len(shapes) != (len(samples.measure.heads) if samples.measure else len(labels)):
        raise UserError(
            f"{samples.origin} has labels for {len(labels)} outputs, but {model.name} has "
            f"{len(shapes)}; give y0, y1, ... in their order."
        )
    measure = samples.measure or measure_of_labels(labels, shapes)
    measure.refuse_unfit(labels, shapes, samples.origin, model.name)
    runs = []
    for outputs in model.predict(samples.inputs):
        runs.append(measure.kept(outputs))
        after_each()
    kept = [np.concatenate(rows) for rows in zip(*runs, strict=True)]
    return Score(measure.wording, measure.judge(labels, kept, shapes))
