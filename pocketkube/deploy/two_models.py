"""Says how far two models agree on the same examples, Keras models or LiteRT files."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from pocketkube.data.in_memory import Labelled
from pocketkube.deploy.convert import Arrays
from pocketkube.deploy.presumed import presumed_measure
from pocketkube.errors import UserError
from pocketkube.graph.inputs import refuse_unknown_ids
from pocketkube.graph.not_called import naming_what_cannot_be_called
from pocketkube.measures import (
    Classes,
    HeadMeasure,
    Measure,
    TaskMeasure,
    TaskScore,
    Values,
    Wording,
    measure_of_labels,
)
from pocketkube.native.litert_in_child import outputs_of
from pocketkube.shapes import refuse_other_shapes
from pocketkube.structure import arranged, output_names
from pocketkube.traceable import refuse_untraceable


@dataclass(frozen=True)
class Runnable:
    """A model that can be asked.

    Attributes:
        name: What messages call it.
        model: A Keras model, or the content of a LiteRT file.
    """

    name: str
    model: keras.Model | bytes


@dataclass(frozen=True)
class OutputDifference:
    """How far an output of the second model is that of the first.

    Attributes:
        name: The output's.
        same_class: Part of the examples, or of their positions or labels, that both give the same class
            or answer; None where the output is values.
        relative_error: Root of the mean squared difference over that of the first model's outputs.
        largest_difference: In the output's unit.
    """

    name: str
    same_class: float | None
    relative_error: float
    largest_difference: float


@dataclass(frozen=True)
class ModelScores:
    """How right both models are.

    Attributes:
        wording: How the score of all outputs is read.
        before: Of the first model.
        after: Of the second.
    """

    wording: Wording
    before: TaskScore
    after: TaskScore


@dataclass(frozen=True)
class Difference:
    """How far two models agree.

    Attributes:
        examples: How many were compared.
        outputs: Each output by itself, in the order of the first model's.
        scores: None where there are no labels.
    """

    examples: int
    outputs: tuple[OutputDifference, ...]
    scores: ModelScores | None


def compare_models(first: Runnable, second: Runnable, examples: Labelled, origin: str) -> Difference:
    """Runs two models on the same examples.

    Args:
        first: The reference.
        second: The other one; its outputs stand in the same order.
        examples: One array `[N, ...]` for each input, and for each output or none.
        origin: What messages call the examples.

    Returns:
        How far they agree. An output is taken for classes where its labels are; without labels, where
        the Keras model says so, or its numbers are shares of a whole as a softmax gives them.

    Raises:
        UserError: If a model cannot take the examples or be judged by their labels, gives numbers that
            are not finite, or the two give different outputs.
    """
    before, after = outputs_of_both(first, second, examples.inputs, origin)
    measure = measure_by(examples, before, origin, first, second)
    outputs = differences(_names(first, len(before)), before, after, measure)
    scores = None
    if examples.labels:
        found = [_judged(measure, examples.labels, each) for each in (before, after)]
        scores = ModelScores(measure.wording, *found)
    return Difference(len(examples.inputs[0]), outputs, scores)


def outputs_of_both(
    first: Runnable, second: Runnable, inputs: Arrays, origin: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What two models give for the same inputs, one array `[N, ...]` for each output.

    Raises:
        UserError: If a model cannot take them or gives numbers that are not finite, or the two give
            different outputs.
    """
    before, after = (outputs_by(each, inputs, origin) for each in (first, second))
    shapes = [[output.shape[1:] for output in outputs] for outputs in (before, after)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{first.name} gives outputs of the shapes {shapes[0]} an example, but {second.name} "
            f"{shapes[1]}: they cannot be compared."
        )
    return before, after


def differences(
    names: Sequence[str],
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    measure: TaskMeasure,
) -> tuple[OutputDifference, ...]:
    """How far each output of the second model is that of the first.

    Args:
        names: What the outputs are called.
        before: What the first model gives, `[N, ...]` for each output.
        after: What the second gives.
        measure: What the outputs mean.
    """
    return tuple(
        _difference(name, ours, theirs, head.measure)
        for name, ours, theirs, head in zip(names, after, before, measure.heads, strict=True)
    )


def outputs_by(runnable: Runnable, inputs: Arrays, origin: str) -> list[np.ndarray]:
    """What a model gives on examples, one array for each output.

    Args:
        runnable: The model.
        inputs: One array `[N, ...]` for each input.
        origin: What messages call the examples.

    Raises:
        UserError: If it cannot take them, or gives numbers that are not finite.
    """
    if isinstance(runnable.model, bytes):
        try:
            outputs = outputs_of(runnable.model, inputs, origin)
        except UserError as error:
            raise error.saying(str(error).replace("the converted model", runnable.name)) from error
    else:
        refuse_untraceable(runnable.model)
        refuse_other_shapes(
            origin,
            [array.shape[1:] for array in inputs],
            runnable.name,
            [tuple(tensor.shape[1:]) for tensor in runnable.model.inputs],
        )
        refuse_unknown_ids(origin, runnable.model, inputs)
        arrays = arranged(runnable.model, inputs)
        with naming_what_cannot_be_called(runnable.model):
            found = keras.tree.flatten(runnable.model.predict(arrays, batch_size=256, verbose=0))
        outputs = [np.asarray(output) for output in found]
    for place, output in enumerate(outputs):
        if not np.isfinite(output).all():
            raise UserError(f"{runnable.name}: its output {place} holds NaN or infinity on {origin}.")
    return outputs


def measure_by(
    examples: Labelled, outputs: Sequence[np.ndarray], origin: str, first: Runnable, *others: Runnable
) -> TaskMeasure:
    """How outputs are judged: by their labels, or by what they look like.

    Args:
        examples: The examples.
        outputs: What the first model gives on them.
        origin: What messages call the examples.
        first: The first model.
        others: Those that it is compared with.

    Raises:
        UserError: If the labels are none for the outputs.
    """
    if examples.labels:
        if len(examples.labels) != len(outputs):
            raise UserError(
                f"{origin} has labels for {len(examples.labels)} outputs, but {first.name} has "
                f"{len(outputs)}; give y0, y1, ... in their order."
            )
        shapes = [output.shape for output in outputs]
        measure = measure_of_labels(examples.labels, shapes)
        measure.refuse_unfit(examples.labels, shapes, origin, first.name)
        return measure
    for each in (first, *others):
        if isinstance(each.model, keras.Model):
            return presumed_measure(each.model)
    return TaskMeasure(
        tuple(
            HeadMeasure(f"y{place}", Classes() if _are_shares(output) else Values())
            for place, output in enumerate(outputs)
        )
    )


def _are_shares(output: np.ndarray) -> bool:
    """Whether the numbers of the last axis are several that sum to 1, to an integer file's steps."""
    if output.ndim < 2 or output.shape[-1] < 2 or output.min() < 0:
        return False
    return bool(np.abs(output.sum(axis=-1) - 1).max() < output.shape[-1] / 256)


def _difference(name: str, ours: np.ndarray, theirs: np.ndarray, measure: Measure) -> OutputDifference:
    off, reference = ours.astype(np.float64) - theirs, theirs.astype(np.float64)
    spread = float(np.sqrt(np.square(reference).mean()))
    error = float(np.sqrt(np.square(off).mean()))
    return OutputDifference(
        name,
        measure.agreement_of(ours, theirs),
        0.0 if error == 0 else error / max(spread, float(np.finfo(np.float32).tiny)),
        float(np.abs(off).max()),
    )


def _names(runnable: Runnable, count: int) -> Sequence[str]:
    if isinstance(runnable.model, bytes):
        return [f"y{place}" for place in range(count)]
    return output_names(runnable.model)


def _judged(measure: TaskMeasure, labels: Arrays, outputs: Sequence[np.ndarray]) -> TaskScore:
    kept = measure.kept(outputs)
    return measure.judge(labels, kept, [output.shape for output in outputs])
