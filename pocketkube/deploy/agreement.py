"""Compares a LiteRT file with the Keras model it was made from, on real examples."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from pocketkube.deploy.contents import output_ranges, steps_in_range
from pocketkube.deploy.convert import Arrays
from pocketkube.errors import RejectedFile, UserError
from pocketkube.measures import Classes, Measure, TaskMeasure
from pocketkube.native.litert_in_child import outputs_of
from pocketkube.structure import arranged, output_names

CLASSES = Classes()
# Rounding in every layer adds up to some steps of the output; this many are not held against a file.
NOISE_STEPS = 16
# Of more, as of an embedding, single ones mean little by themselves.
MOST_COMPONENTS = 32
# Where an output's range has room for a component, far more of its variance is kept.
LEAST_OF_A_COMPONENT = 0.9
# A component that varies by less than this of its output's range varies by what floats round off.
DUST = 2.0**-20


@dataclass(frozen=True)
class OutputAgreement:
    """How far one output of a file is its model's.

    Attributes:
        name: The output's.
        share: 1 is in full; see `check_agreement` for what it counts.
        error: Root of the mean squared difference, in the output's unit.
        spread: Standard deviation of the model's own outputs about their means over the examples.
        range: From the least to the greatest value that the file was made for, or that was seen.
        lost: Of an output of few values, the places in its last axis of those that are small beside the
            others, and of which less than `LEAST_OF_A_COMPONENT` of the variance is kept.
    """

    name: str
    share: float
    error: float
    spread: float
    range: float
    lost: tuple[int, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """How far a file does what its model does.

    Attributes:
        share: Of the output where it is least.
        examples: How many examples were compared.
        outputs: Each output by itself.
    """

    share: float
    examples: int
    outputs: tuple[OutputAgreement, ...]


def check_agreement(
    litert: bytes,
    model: keras.Model,
    inputs: Arrays,
    minimum: float,
    measure: Measure | TaskMeasure = CLASSES,
    remedy: str = "convert it anew",
) -> Agreement:
    """Runs file and model on the same examples, and refuses a file that strays in any output.

    Of an output of classes, the share is the part of the examples, or of their pixels, that are given
    the same class; of several labels it is the part of them that are given the same answer. Of values
    it is `1 - mean (outputs - wanted)² / mean max(variance, floor²)`: the part of the variance that is
    kept, where an output that hardly varies on these examples counts as if it varied by
    `floor`, which is 16 steps of what its range is divided into, 256 in a file of 8-bit kernels, 2,048
    of half floats and 2**20 of floats. No file can be nearer than that to its model.

    Args:
        litert: The file's content.
        model: The model it was converted from.
        inputs: One array `[N, ...]` for each input; test examples.
        minimum: Least share that is accepted.
        measure: What the model's outputs mean, and so what their agreement is.
        remedy: What the user can do about a file that strays.

    Returns:
        The shares, and the number of examples.

    Raises:
        RejectedFile: If the share of an output is below the minimum; where the model's own outputs are
            no numbers, it says so.
        UserError: If the inputs do not fit the file, or LiteRT cannot run it.
    """
    if not 0 <= minimum <= 1:
        raise UserError(f"check_agreement: minimum has to be between 0 and 1; received {minimum}.")
    examples = len(inputs[0])
    if examples == 0:
        raise UserError(f"{model.name}: there are no examples to compare the LiteRT file on.")
    outputs = outputs_of(litert, inputs, "The examples to compare on")
    arrays = arranged(model, inputs)
    wanted = keras.tree.flatten(model.predict(arrays, batch_size=256, verbose=0))
    steps, ranges = steps_in_range(litert), output_ranges(litert)
    found = tuple(
        _compared(name, ours, np.asarray(theirs), one, span, steps)
        for name, ours, theirs, one, span in zip(
            output_names(model), outputs, wanted, _measures(measure, len(outputs)), ranges, strict=True
        )
    )
    agreement = Agreement(min(one.share for one in found), examples, found)
    if agreement.share < minimum:
        said = _no_numbers(model.name, [np.asarray(each) for each in wanted])
        raise RejectedFile(said or _told(model.name, agreement, minimum, measure, remedy), litert)
    return agreement


def notes_on_components(agreement: Agreement) -> list[str]:
    """Sentences for the user on what a file loses of single numbers of an output.

    Of price and stars in one output, the price has nearly all of the variance, and a file of integers
    one scale for both: the stars may be gone where the output as a whole agrees.
    """
    return [
        f"The file keeps less than {LEAST_OF_A_COMPONENT:.0%} of the variance of {_counted(one.lost)} "
        f"(counted from 0) of output {one.name}: it has one scale for these and far larger ones; give "
        "small ones an output of their own, or use quantize_float16."
        for one in agreement.outputs
        if one.lost
    ]


def _counted(places: Sequence[int]) -> str:
    if len(places) == 1:
        return f"number {places[0]}"
    return f"numbers {', '.join(map(str, places[:-1]))} and {places[-1]}"


def _share_of(outputs: np.ndarray, wanted: np.ndarray, measure: Measure, floor: float = 0.0) -> float:
    """How far one output is another: the part of classes, or of the variance; see `check_agreement`.

    Args:
        outputs: `[N, ...]`.
        wanted: What it is compared with, as many.
        measure: What they mean.
        floor: Values that vary by less count as if they varied by so much.
    """
    same = measure.agreement_of(outputs, wanted)
    if same is not None:
        return same
    ours, theirs = outputs.astype(np.float64), wanted.astype(np.float64)
    spread = np.maximum(theirs.var(axis=0), floor**2).mean()
    return _part_kept(float(np.square(ours - theirs).mean()), float(spread))


def _measures(measure: Measure | TaskMeasure, outputs: int) -> Sequence[Measure]:
    """What measures each output."""
    if isinstance(measure, TaskMeasure):
        return [head.measure for head in measure.heads]
    return [measure] * outputs


def _compared(
    name: str, outputs: np.ndarray, wanted: np.ndarray, measure: Measure, span: float, steps: int
) -> OutputAgreement:
    ours, theirs = outputs.astype(np.float64), wanted.astype(np.float64)
    squares = np.square(ours - theirs)
    variances = theirs.var(axis=0)
    span = max(span, float(max(theirs.max(), 0.0) - min(theirs.min(), 0.0)))
    share = _share_of(outputs, wanted, measure, NOISE_STEPS * span / steps)
    error, spread = float(np.sqrt(squares.mean())), float(np.sqrt(variances.mean()))
    # Where all is lost, it is not for the size of some.
    agrees = measure.agreement_of(outputs, wanted) is None and share >= LEAST_OF_A_COMPONENT
    lost = _lost(ours, theirs, span, steps) if agrees else ()
    return OutputAgreement(name, share, error, spread, span, lost)


def _lost(ours: np.ndarray, theirs: np.ndarray, span: float, steps: int) -> tuple[int, ...]:
    """Which components of an output, each against its own variance and range, a file has not kept."""
    components = theirs.shape[-1]
    # A vector an example, or a step of a sequence; more axes are those of maps.
    if theirs.ndim not in (2, 3) or not 1 < components <= MOST_COMPONENTS:
        return ()
    seen = tuple(range(theirs.ndim - 1))
    errors = np.square(ours - theirs).mean(axis=seen)
    spans = np.maximum(theirs.max(axis=seen), 0) - np.minimum(theirs.min(axis=seen), 0)
    floors = NOISE_STEPS * spans / steps
    variances = theirs.var(axis=0)
    spreads = np.maximum(variances, floors**2).reshape(-1, components).mean(axis=0)
    varies = variances.reshape(-1, components).mean(axis=0) > (DUST * span) ** 2
    # Of the others more may be lost in layers before, for which the output's scale is no reason.
    is_small = spans < span / NOISE_STEPS
    lost = varies & is_small & (errors > (1 - LEAST_OF_A_COMPONENT) * spreads)
    return tuple(np.flatnonzero(lost).tolist())


def _part_kept(error: float, spread: float) -> float:
    """`1 - error / spread`, both squared, not below 0; NaN agrees with nothing."""
    if error == 0.0:
        return 1.0
    if not np.isfinite(error) or spread == 0.0:
        return 0.0
    return max(0.0, 1.0 - error / spread)


def _no_numbers(name: str, outputs: Sequence[np.ndarray]) -> str:
    """What is wrong where a model's own outputs are no numbers, against which no file helps."""
    finite = [np.isfinite(each.reshape(len(each), -1)).all(axis=1) for each in outputs]
    broken = int((~np.all(finite, axis=0)).sum())
    if not broken:
        return ""
    return (
        f"{name}: the Keras model's own outputs are not finite on {broken} of {len(outputs[0])} test "
        "examples, as no file can change: its training went astray; lower the learning rate "
        "(training.learning_rate, or that of the stage that trains)."
    )


def _told(
    name: str, agreement: Agreement, minimum: float, measure: Measure | TaskMeasure, remedy: str
) -> str:
    several = len(agreement.outputs) > 1
    measures = _measures(measure, len(agreement.outputs))
    strays = [
        f"{f'of output {one.name} ' if several else ''}{own.agreement_name} {one.share:.4f} "
        f"(error {one.error:.3g}, spread {one.spread:.3g}, range {one.range:.3g})"
        for one, own in zip(agreement.outputs, measures, strict=True)
        if one.share < minimum
    ]
    return (
        f"{name}: the LiteRT file strays from the Keras model: {'; '.join(strays)} on "
        f"{agreement.examples} test examples, at least {minimum:g} is wanted; {remedy}."
    )
