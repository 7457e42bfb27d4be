"""A NumPy .npz file: x or x0, x1, …, and, where it has them, y or y0, y1, … and sample_weight.

x_test and y_test, or x0_test, y0_test, …, are a test set of its own, x_val and y_val, or x_valid and
y_valid and so on, a validation set; x_train and y_train, as in Keras's mnist.npz, and
sample_weight_train beside them, are what x, y and sample_weight are.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from pocketkube.bounded.limits import Unreadable
from pocketkube.bounded.npz import of_training, opened_npz, refuse_no_examples
from pocketkube.data.dataset import Dataset
from pocketkube.data.in_memory import Labelled, in_memory_dataset, strata_of
from pocketkube.errors import UserError
from pocketkube.finite import refuse_not_finite
from pocketkube.spec.sections import DatasetSettings
from pocketkube.value_range import DEFAULT_RANGE, is_image, to_range

Range: TypeAlias = tuple[float, float]
WEIGHTS = "sample_weight"
# What names of arrays end in that are a set of the file's own.
TEST, VALIDATION = "_test", "_val"
# What else those of a validation set end in, where there is none that ends in _val.
_ALSO_VALIDATION = ("_validation", "_valid", "_dev")
# Of a file's names no more is told; nobody reads it.
_LONGEST = 200


def load(path: Path, settings: DatasetSettings) -> Dataset:
    """Loads the arrays.

    Floats become float32 and uint8 images (three axes or more) are brought to `value_range`; other
    integers become int32. Labels are class numbers, one-hot rows or values (see `Labels`); floats of
    shape `[N]` become `[N, 1]`. What each training example counts in the loss is `sample_weight`,
    `[N]`. Without y the data set has no labels. Where `settings.labels` is False nothing is asked of y
    and sample_weight; classes in y still say which examples are held out, so that these stay the same.

    Raises:
        UserError: If the file is no .npz, or an array is missing, of objects, or of another length, is
            called nearly as one that is read, or sets of its own are no such examples as the others.
    """
    arrays, names = _read(path, "" if settings.labels else "x")
    others = _without_meaning(names)
    _refuse_near_misses(path, names, "xys" if settings.labels else "x")
    if others and settings.labels and not _labels(path, arrays, ""):
        right = _of_training_as_others("y", names)
        raise UserError(
            f"{path}: has no y, but {', '.join(others)}: call the labels {right}, or say "
            "dataset.labels: false if there are none."
        )
    examples = _checked(path, arrays)
    test, validation = (_own(path, arrays, part, examples) for part in (TEST, _validation(arrays)))
    if not settings.labels:
        examples = replace(examples, strata=_strata(path, len(examples.inputs[0])))

    def finish(rows: np.ndarray) -> np.ndarray:
        return _as_taken(rows, settings.value_range)

    dataset = in_memory_dataset(str(path), examples, test, settings, finish, validation)
    return replace(dataset, value_range=scaled_to(examples.inputs, settings.value_range))


def _refuse_near_misses(path: Path, names: Sequence[str], letters: str) -> None:
    """Says which arrays would be left out only because of how they are called.

    One in whose place another is read already, as X beside x, is left out without a word.

    Args:
        path: The file.
        names: Of all its arrays.
        letters: What those begin with that are asked for.
    """
    known = _known(names)
    meant: dict[str, str] = {}
    for name in _without_meaning(names):
        right = _right_name(name)
        if right is None or right[0] not in letters:
            continue
        taken = next((known[its] for its in known if _is_in_place_of(its, right)), None)
        if taken is None:
            meant.setdefault(_of_training_as_others(right, names), name)
        elif name == WEIGHTS or (name.lower().endswith("_train") and not taken.endswith("_train")):
            raise UserError(
                f"{path}: has both {taken} and {name}, of which only one would be read; keep one of "
                "them."
            )
    renamed = _known([*(name for name in names if name not in meant.values()), *meant])
    # Half a validation set would not be read by its right name either.
    meant = {right: name for right, name in meant.items() if right in renamed.values()}
    if meant:
        raise UserError(
            f"{path}: would not be read because of their names: {', '.join(meant.values())}; call them "
            f"{', '.join(meant)}, or leave them out."
        )


def _right_name(name: str) -> str | None:
    """What an array may be meant to be that is called nearly so; None where it is nothing nearly."""
    lower = name.lower()
    if re.fullmatch(r"sample_?weights?(_train)?", lower):
        return WEIGHTS
    if re.fullmatch(r"[xy]\d*_train", lower):
        # Beside an x or y it is not taken.
        return lower.removesuffix("_train")
    ends = "|".join((TEST, VALIDATION, *_ALSO_VALIDATION))
    return lower if lower != name and re.fullmatch(rf"[xy]\d*({ends})?", lower) else None


def _is_in_place_of(one: str, other: str) -> bool:
    """Whether there cannot be two such arrays; x is not beside x0 either."""
    alone = re.sub(r"\d", "", one)
    return one == other or (alone == re.sub(r"\d", "", other) and alone in (one, other))


def _of_training_as_others(name: str, names: Sequence[str]) -> str:
    """What x or y has to be called in a file of these names: x_train where those of training are so."""
    return f"{name}_train" if re.fullmatch(r"[xy]\d*", name) and of_training(names) else name


def _strata(path: Path, count: int) -> np.ndarray | None:
    """The classes of labels that are not used; None where there are none, or they are unusable."""
    try:
        arrays, _ = _read(path, "y")
        labels = tuple(_labels(path, arrays, "").values())
        fit = labels and all(len(y) == count for y in labels)
        return strata_of(str(path), labels) if fit else None
    except UserError:
        return None


def scaled_to(inputs: Sequence[np.ndarray], value_range: Range) -> Range | None:
    """The range that images are brought to; None where none of the inputs is of 8 bits."""
    return value_range if any(map(is_image, inputs)) else None


def load_examples(path: Path, value_range: Range | None = None) -> tuple[Labelled, Range | None]:
    """Loads all examples in their order, or a test set of their own, with labels or without.

    Args:
        path: The file.
        value_range: What 0 and 255 of 8-bit images become; as a spec has it by default if None.

    Returns:
        Inputs as `load` brings them to a model, and labels as they stand there; no labels where there
        is no y. Then the range that images were brought to; None where there are none of 8 bits.

    Raises:
        UserError: As `load` does; or if there is no example.
    """
    arrays, names = _read(path)
    _refuse_near_misses(path, names, "xy")
    every = _checked(path, arrays)
    examples = _own(path, arrays, TEST, every) or every
    if len(examples.inputs[0]) == 0:
        raise UserError(f"{path}: has no examples.")
    refuse_not_finite(str(path), "inputs", examples.inputs)
    refuse_not_finite(str(path), "labels", examples.labels)
    wanted: Range = value_range or DEFAULT_RANGE
    inputs = tuple(_as_taken(x, wanted) for x in examples.inputs)
    return Labelled(inputs, examples.labels), scaled_to(examples.inputs, wanted)


def _labels(path: Path, arrays: dict[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """The arrays y, or y0, y1, …; none where there are no labels."""
    if any(re.fullmatch(rf"y\d*{part}", name) for name in arrays):
        return _numbered(path, arrays, "y", part)
    return {}


def _own(path: Path, arrays: dict[str, np.ndarray], part: str, examples: Labelled) -> Labelled | None:
    """A test or validation set of the file's own; None where it has none.

    Raises:
        UserError: If its arrays are not such as those of the other examples.
    """
    if not any(name.endswith(part) for name in arrays):
        return None
    own = _checked(path, arrays, part)
    ours, theirs = (
        [(x.shape[1:], "of 8 bits" if is_image(x) else "as it is") for x in each.inputs]
        for each in (own, examples)
    )
    if ours != theirs:
        raise UserError(
            f"{path}: x{part} has to be like x, of the same shape an example, and of uint8 if x is; "
            f"received {', '.join(_in_words(x) for x in own.inputs)}, where x is "
            f"{', '.join(_in_words(x) for x in examples.inputs)}."
        )
    return own


def _in_words(array: np.ndarray) -> str:
    return f"{array.shape[1:]} of {array.dtype}"


def _checked(path: Path, arrays: dict[str, np.ndarray], part: str = "") -> Labelled:
    inputs, labels = _numbered(path, arrays, "x", part), _labels(path, arrays, part)
    weights = {name: array for name, array in arrays.items() if name == WEIGHTS and not part}
    each = inputs | labels | weights
    lengths = {name: len(array) for name, array in each.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise UserError(f"{path}: all arrays must have as many examples; {told}.")
    return Labelled(tuple(inputs.values()), tuple(labels.values()), weights.get(WEIGHTS))


def _as_taken(rows: np.ndarray, value_range: Range) -> np.ndarray:
    if is_image(rows):
        return to_range(rows, value_range)
    kind = np.float32 if np.issubdtype(rows.dtype, np.floating) else np.int32
    return rows.astype(kind, copy=False)


def _read(path: Path, begin: str = "") -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays whose names have a meaning, and begin so, and the names of all."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such .npz file.")
    try:
        with opened_npz(path) as archive:
            names = archive.names
            known = _known(names)
            arrays = {meant: archive[name] for meant, name in known.items() if meant.startswith(begin)}
        refuse_no_examples(arrays)
    except Unreadable as error:
        raise UserError(f"{path}: is not a readable .npz file: {error}.") from error
    return arrays, names


def _known(names: Sequence[str]) -> dict[str, str]:
    """What arrays of these names mean, and which of them it is, as x and x_train."""
    meaning = rf"[xy]\d*({TEST}|{_validation(names)})?|{WEIGHTS}"
    return {name: name for name in names if re.fullmatch(meaning, name)} | of_training(names)


def _without_meaning(names: Sequence[str]) -> list[str]:
    known = _known(names).values()
    return [name for name in names if name not in known]


def _validation(names: Iterable[str]) -> str:
    """What the names of a validation set's arrays end in.

    Args:
        names: Of all arrays. Unless they end in _val, all of a validation set has to be there: y_valid
            alone may as well say which examples are valid.
    """
    given = list(names)

    def has(begin: str, end: str) -> bool:
        return any(re.fullmatch(rf"{begin}\d*{end}", name) for name in given)

    if has("[xy]", VALIDATION):
        return VALIDATION
    letters = "xy" if has("y", "(_train)?") else "x"
    complete = (end for end in _ALSO_VALIDATION if all(has(letter, end) for letter in letters))
    return next(complete, VALIDATION)


def _numbered(
    path: Path, arrays: dict[str, np.ndarray], letter: str, part: str
) -> dict[str, np.ndarray]:
    """The arrays x, or x0, x1, … in this order, with what the names of a part of the data end in."""
    alone = f"{letter}{part}"
    if alone in arrays:
        return {alone: arrays[alone]}
    found: dict[str, np.ndarray] = {}
    while (name := f"{letter}{len(found)}{part}") in arrays:
        found[name] = arrays[name]
    beyond = {name for name in arrays if re.fullmatch(rf"{letter}\d*{part}", name)} - set(found)
    if beyond or not found:
        has = textwrap.shorten(", ".join(sorted(_names(path))), _LONGEST, placeholder=" …")
        raise UserError(
            f"{path}: has no array {letter}{len(found) if beyond else ''}{part}; give {alone}, or "
            f"{letter}0{part}, {letter}1{part}, … without gaps. It has: {has or 'none'}."
        )
    return found


def _names(path: Path) -> list[str]:
    """What all arrays of a file are called."""
    with opened_npz(path) as archive:
        return archive.names
