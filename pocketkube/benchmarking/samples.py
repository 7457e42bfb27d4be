"""Reads the test examples that a benchmark runs on."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pocketkube.bounded.limits import Unreadable
from pocketkube.bounded.npz import of_training, read_npz, refuse_no_examples
from pocketkube.errors import UserError
from pocketkube.files.records import Document, Upgrade, document_of
from pocketkube.finite import refuse_not_finite
from pocketkube.measures import TaskMeasure, task_measure_of
from pocketkube.measures.task_facts import OutputsFacts, TaskFacts
from pocketkube.value_range import DEFAULT_RANGE, is_image, to_range


class SamplesFacts(Document):
    """What an .npz of examples says beside its arrays.

    Attributes:
        task: How the outputs are judged.
    """

    schema_version: int = 2
    task: OutputsFacts

    # Version 1 had the same, but for the version.
    upgrades: ClassVar[tuple[Upgrade, ...]] = (lambda content: content,)


@dataclass(frozen=True)
class Samples:
    """Examples, and what is right for them.

    Attributes:
        origin: What messages call them.
        inputs: One array `[N, ...]` for each input of the model.
        labels: One array `[N, ...]` for each output, or each that is scored: integers are class
            numbers, one-hot rows classes, other floats values. Empty if unknown.
        measure: How outputs are judged by them; None where the labels are to tell.
    """

    origin: str
    inputs: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]
    measure: TaskMeasure | None = None


def load_samples(path: Path, value_range: tuple[float, float] | None = None) -> Samples:
    """Reads examples from a NumPy file.

    Args:
        path: An .npz with x, or x0, x1, ..., in the order of the model's inputs, and y, or y0,
            y1, ..., in the order of its outputs; without a y there will be no score. Where it has a
            test set of its own, x_test and y_test, that is read. What `save_samples` writes also has
            `task` and `schema_version`, and its inputs are as models take them.
        value_range: What 0 and 255 of 8-bit images become, as in a data set; 0 and 1 if None.

    Returns:
        The examples.

    Raises:
        UserError: If the file is missing, is no .npz of numbers, or its arrays do not fit together.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; give an .npz with x and y.")
    try:
        arrays = read_npz(path)
        task, version = arrays.pop("task", None), arrays.pop("schema_version", None)
        if task is None:
            arrays = _as_a_test_set(arrays, value_range or DEFAULT_RANGE)
        examples = {name: each for name, each in arrays.items() if re.fullmatch(r"[xy]\d*", name)}
        refuse_no_examples(examples)
    except Unreadable as error:
        raise UserError(f"{path} is no .npz of plain number arrays: {error}.") from error
    inputs, labels = _numbered(arrays, "x"), _numbered(arrays, "y")
    if not inputs:
        raise UserError(f"{path} has no array x or x0, only {', '.join(arrays) or 'nothing'}.")
    sizes = {name: len(array) for name, array in examples.items()}
    if len(set(sizes.values())) != 1:
        counted = ", ".join(f"{size} in {name}" for name, size in sizes.items())
        raise UserError(f"{path}: all arrays must have as many examples; there are {counted}.")
    if len(inputs[0]) == 0:
        raise UserError(f"{path} has no examples.")
    for what, each in (("inputs", inputs), ("labels", labels)):
        numbers = [array for array in each if array.dtype.kind in "fiub"]
        if len(numbers) < len(each):
            raise UserError(f"{path}: {what} must be arrays of real numbers.")
        refuse_not_finite(str(path), what, numbers)
    measure = None if task is None else _measure(path, str(task), version)
    return Samples(origin=str(path), inputs=inputs, labels=labels, measure=measure)


def _as_a_test_set(
    arrays: dict[str, np.ndarray], value_range: tuple[float, float]
) -> dict[str, np.ndarray]:
    """What a data set of the same file would be tested on."""
    own = {name: each for name, each in arrays.items() if re.fullmatch(r"[xy]\d*_test", name)}
    if own:
        arrays = {name.removesuffix("_test"): each for name, each in own.items()}
    elif trained := of_training(arrays):
        arrays = {meant: arrays[name] for meant, name in trained.items()}
    return {
        name: to_range(each, value_range) if name.startswith("x") and is_image(each) else each
        for name, each in arrays.items()
    }


def random_samples(shapes: tuple[tuple[int, ...], ...], types: tuple[np.dtype, ...]) -> Samples:
    """Makes examples up for a file of which only the shapes are known.

    Args:
        shapes: Shape of each input with the batch axis.
        types: Number type of each input, of floats where they are to be quantized.

    Returns:
        16 examples, see `random_arrays`.
    """
    inputs = random_arrays([(16, *shape[1:]) for shape in shapes], types)
    return Samples(origin="random numbers", inputs=inputs, labels=())


def random_arrays(
    shapes: Sequence[tuple[int, ...]], types: Sequence[np.dtype]
) -> tuple[np.ndarray, ...]:
    """Makes arrays up.

    Args:
        shapes: Shape of each.
        types: Number type of each, of floats where they are to be quantized.

    Returns:
        Normal numbers from a fixed seed; zeros for integers, since an index must lie in a table of
        unknown size.
    """
    rng = np.random.default_rng(0)
    return tuple(
        np.zeros(shape, kind)
        if np.issubdtype(kind, np.integer)
        else rng.normal(size=shape).astype(np.float32)
        for shape, kind in zip(shapes, types, strict=True)
    )


def save_samples(
    path: Path, inputs: Sequence[np.ndarray], labels: Sequence[np.ndarray], task: TaskFacts
) -> None:
    """Writes examples with what they are judged by, for `load_samples`.

    Args:
        path: The .npz to write.
        inputs: One array `[N, ...]` for each input of the model.
        labels: One array `[N, ...]` for each output that is scored.
        task: The model's task.
    """
    arrays = {f"x{i}": x for i, x in enumerate(inputs)} | {f"y{i}": y for i, y in enumerate(labels)}
    facts = SamplesFacts(task=task)
    np.savez(
        path,
        schema_version=np.asarray(facts.schema_version),
        task=np.asarray(json.dumps(task.model_dump(mode="json"))),
        **arrays,  # type: ignore[arg-type]
    )


def _measure(path: Path, task: str, version: np.ndarray | None) -> TaskMeasure:
    try:
        # Examples without a version were written before there was one, or by hand.
        content = {"task": json.loads(task)}
        if version is not None:
            content["schema_version"] = version.item()
        return task_measure_of(document_of(SamplesFacts, content, str(path)).task)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: its task is none that is known here: {task:.80}; leave task out to judge "
            "integers and one-hot rows as classes and floats as values."
        ) from error


def _numbered(arrays: dict[str, np.ndarray], letter: str) -> tuple[np.ndarray, ...]:
    if letter in arrays:
        return (arrays[letter],)
    found: list[np.ndarray] = []
    while f"{letter}{len(found)}" in arrays:
        found.append(arrays[f"{letter}{len(found)}"])
    return tuple(found)
