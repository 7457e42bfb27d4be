"""Refuses images in a range of values in which a trained model tells much less than in another one."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras
import numpy as np

from pocketkube.data.dataset import Arrays, Dataset
from pocketkube.errors import DataError
from pocketkube.measures import TaskMeasure
from pocketkube.measures.paired import is_worse
from pocketkube.stages.chance import Told, outputs_on, some_examples, told
from pocketkube.training.task import Task

Range: TypeAlias = tuple[float, float]
# From inputs to how much each output tells of the labels.
Tell: TypeAlias = Callable[[Arrays], list[Told]]

BYTES, UNIT, SIGNED = (0.0, 255.0), (0.0, 1.0), (-1.0, 1.0)
# A network without large biases does about as well on larger values: the narrow ranges come first.
USUAL: tuple[Range, ...] = (UNIT, SIGNED, BYTES)
# A model of such a skill is taken to be shown what it was trained with.
SKILLED = 0.5
# So much more skill is no luck, not even of weights at random or of a network just cut.
CLEARLY_MORE = 1 / 3
FORMULAS = {
    (BYTES, UNIT): "x / 255",
    (BYTES, SIGNED): "x / 127.5 - 1",
    (UNIT, BYTES): "255 * x",
    (UNIT, SIGNED): "2 * x - 1",
    (SIGNED, UNIT): "(x + 1) / 2",
    (SIGNED, BYTES): "127.5 * (x + 1)",
}


class OtherRange(DataError):
    """A trained model tells clearly more of the labels where its images are in another range.

    Attributes:
        found: Both scores in a sentence, without its end.
        better: The other range.
        formula: What brings arrays there; empty where a data set's `value_range` does.
    """

    def __init__(self, found: str, better: Range, formula: str):
        self.found, self.better, self.formula = found, better, formula
        super().__init__(
            f"{found}: save {formula} as x, for it is not of 8 bits and taken as it is."
            if formula
            else f"{found}: say dataset: {{value_range: {shown(better)}}}."
        )

    def remedied(self, arrays: str, setting: str, function: str = "") -> "OtherRange":
        """The same with what to do.

        Args:
            arrays: Where x is taken as it is; {formula} stands for what brings it to the range.
            setting: Where images are brought to a range; {range} stands for that.
            function: The API's function, which it begins with.
        """
        remedy = (arrays if self.formula else setting).replace("{formula}", self.formula)
        begin = f"{function}: {self.found}" if function else self.found
        return self.saying(f"{begin}: {remedy.replace('{range}', shown(self.better))}.")


def refuse_other_range(
    model: keras.Model,
    dataset: Dataset,
    task: Task,
    seed: int,
    name: str = "",
    *,
    least: float = CLEARLY_MORE,
) -> None:
    """Says when a trained model knows the images of a data set in another range than they are in.

    Args:
        model: The model as it came.
        dataset: Its data; of many validation examples some are looked at.
        task: What its outputs are.
        seed: Which are looked at follows from it.
        name: What messages call the model; by its own name if empty.
        least: The skill that it has to have in the other range.

    Raises:
        OtherRange: If its score is clearly better in another one of the usual ranges.
    """
    if not dataset.is_labelled or not any(len(shape) >= 2 for shape in dataset.input_shapes):
        return
    inputs, labels = some_examples(model, dataset, seed)

    def outputs(arrays: Arrays) -> Sequence[np.ndarray]:
        return outputs_on(model, arrays)

    refuse_better_range(
        outputs,
        task.measure,
        inputs,
        labels,
        dataset.name,
        name or model.name,
        dataset.value_range,
        least=least,
    )


def refuse_better_range(
    outputs: Callable[[Arrays], Sequence[np.ndarray]],
    measure: TaskMeasure,
    inputs: Arrays,
    labels: Arrays,
    origin: str,
    name: str,
    value_range: Range | None,
    *,
    least: float = CLEARLY_MORE,
) -> None:
    """The same of a model that is asked through a function.

    Args:
        outputs: From inputs to the model's outputs.
        measure: What they are.
        inputs: Some examples.
        labels: Theirs.
        origin: What messages call the data.
        name: What they call the model.
        value_range: What 0 and 255 of the images have become; None where they are as they stand.
        least: The skill that the model has to have in the other range.

    Raises:
        OtherRange: If the score is clearly better in another one of the usual ranges.
    """
    now = value_range or _range_of(inputs)
    places = [at for at, x in enumerate(inputs) if now is not None and _is_image(x, now)]
    if now is None or not places:
        return

    def tell(arrays: Arrays) -> list[Told]:
        return told(measure, labels, outputs(arrays), origin)

    before = tell(inputs)
    if not before or _skill(before) >= SKILLED:
        return
    others = {
        each: tell(tuple(_moved(x, now, each) if at in places else x for at, x in enumerate(inputs)))
        for each in USUAL
        if each != now
    }
    best = max(others.values(), key=_skill)
    better, after = next((to, each) for to, each in others.items() if _is_as_good(each, best))
    if _skill(after) < least or _skill(after) - max(_skill(before), 0.0) < CLEARLY_MORE:
        return
    gains = [b.skill - a.skill for a, b in zip(before, after, strict=True)]
    was, becomes = ((each[int(np.argmax(gains))]) for each in (before, after))
    if is_worse(becomes.each, was.each):
        raise OtherRange(
            f"{origin}: its images are in the range {shown(now)}, where {name} has {was.shown} on "
            f"{len(inputs[0])} examples; in {shown(better)} it has {becomes.shown}",
            better,
            "" if value_range else FORMULAS[now, better],
        )


def shown(value_range: Range) -> str:
    """A range as a spec has it."""
    return f"[{value_range[0]:g}, {value_range[1]:g}]"


def _skill(of_outputs: Sequence[Told]) -> float:
    return float(np.mean([each.skill for each in of_outputs]))


def _is_as_good(these: Sequence[Told], best: Sequence[Told]) -> bool:
    return not any(is_worse(b.each, a.each) for a, b in zip(these, best, strict=True))


def _is_image(array: np.ndarray, value_range: Range) -> bool:
    slack = 1e-3 * (value_range[1] - value_range[0])
    within = value_range[0] - slack <= array.min() and array.max() <= value_range[1] + slack
    return array.ndim >= 3 and bool(within)


def _range_of(inputs: Arrays) -> Range | None:
    """The narrowest usual range that all images lie in."""
    images = [x for x in inputs if x.ndim >= 3]
    for each in USUAL:
        if images and all(each[0] <= x.min() and x.max() <= each[1] for x in images):
            return each
    return None


def _moved(array: np.ndarray, now: Range, to: Range) -> np.ndarray:
    scale = (to[1] - to[0]) / (now[1] - now[0])
    return ((array.astype(np.float32) - now[0]) * scale + to[0]).astype(np.float32)
