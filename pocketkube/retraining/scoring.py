"""What a version's LiteRT file makes of examples: how right it is on each, and what it saw and said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketkube.bounded.limits import Unreadable
from pocketkube.bounded.npz import opened_npz
from pocketkube.console.progress import progress
from pocketkube.data.dataset import Arrays
from pocketkube.errors import UserError
from pocketkube.facts import BundleFacts
from pocketkube.litert.running import LiteRTModel
from pocketkube.stages.assessment import task_of
from pocketkube.stages.chance import EXAMPLES, LARGEST_OUTPUTS, untold

# A wider output counts by its mean over positions, one wider still by its first numbers.
WIDEST = 128
BATCH = 256


@dataclass(frozen=True)
class Answers:
    """What a file makes of examples.

    Attributes:
        scores: How right it is on each, `[n]`; the higher the better.
        signals: Numbers of each example, `[n, k]`: mean and standard deviation of each input, and the
            numbers of each output.
        names: What they are, k of them.
        at_chance: A sentence where outputs tell nothing of the labels; else empty.
    """

    scores: np.ndarray
    signals: np.ndarray
    names: tuple[str, ...]
    at_chance: str = ""


def answers_of(file: Path, facts: BundleFacts, inputs: Arrays, labels: Arrays, origin: str) -> Answers:
    """Runs a LiteRT file on examples, one at a time as a phone does.

    Args:
        file: The file.
        facts: What is known of its model: the task above all.
        inputs: One array `[n, …]` for each input.
        labels: One array `[n, …]` for each output that is scored.
        origin: What messages call the examples.

    Raises:
        UserError: If the examples do not fit the file.
    """
    model, task = LiteRTModel(file), task_of(facts)
    model.fit_inputs(inputs, origin)
    task.measure.refuse_unfit(labels, model.output_shapes, origin, file.name)
    # Outputs are wide where they are maps, or rows over tokens: no more are kept than are looked at.
    fitting = max(1, LARGEST_OUTPUTS // sum(math.prod(shape) for shape in model.output_shapes))
    count, batch = len(inputs[0]), min(fitting, BATCH)
    step = -(-count // min(fitting, EXAMPLES))
    scores, signals, some = [], [], []
    names: tuple[str, ...] = ()
    with progress("score", count, "example") as shown:
        for at in range(0, count, batch):
            x, y = ([array[at : at + batch] for array in each] for each in (inputs, labels))
            said = _outputs(model, x)
            scores.append(np.asarray(task.score(y, said)).astype(np.float64))
            names, numbers = _signals(x, said)
            signals.append(numbers)
            # From all over: examples may stand class by class.
            some.append([array[-at % step :: step].copy() for array in said])
            shown.update(at + len(x[0]))
    seen = [np.concatenate(column) for column in zip(*some, strict=True)]
    at_chance = untold(task.measure, [y[::step] for y in labels], seen, origin, what="examples")
    return Answers(np.concatenate(scores), np.concatenate(signals), names, "; ".join(at_chance))


def save_reference(file: Path, answers: Answers) -> None:
    """Writes what a version did on its own data, to compare later data with."""
    np.savez_compressed(
        file,
        scores=answers.scores,
        signals=answers.signals.astype(np.float32),
        names=np.asarray(answers.names),
    )


def load_reference(file: Path) -> Answers:
    """Reads what `save_reference` wrote."""
    try:
        with opened_npz(file) as found:
            return Answers(found["scores"], found["signals"], tuple(map(str, found["names"])))
    except Unreadable as error:
        raise UserError(f"{file} is damaged: {error}.") from error


def _outputs(model: LiteRTModel, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    rows = [tuple(output.copy() for output in outputs) for outputs in model.predict(inputs)]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _signals(
    inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
) -> tuple[tuple[str, ...], np.ndarray]:
    named: dict[str, np.ndarray] = {}
    for number, array in enumerate(inputs):
        what = f"input {number}" if len(inputs) > 1 else "inputs"
        flat = array.reshape(len(array), -1).astype(np.float64)
        named[f"mean of {what}"] = flat.mean(axis=1)
        named[f"standard deviation of {what}"] = flat.std(axis=1)
    for number, array in enumerate(outputs):
        what = f"output {number}, " if len(outputs) > 1 else "output "
        numbers = array.reshape(len(array), -1)
        if numbers.shape[1] > WIDEST and array.ndim > 2:
            numbers = array.reshape(len(array), -1, array.shape[-1]).mean(axis=1)
        for place, column in enumerate(numbers.T[:WIDEST]):
            named[f"{what}{place}"] = column.astype(np.float64)
    return tuple(named), np.stack(list(named.values()), axis=1)
