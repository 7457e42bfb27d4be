"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), from the original binary or python files."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from pocketkube.bounded.limits import Unreadable
from pocketkube.bounded.streams import tar_members
from pocketkube.data.dataset import Dataset
from pocketkube.data.images import resized
from pocketkube.data.in_memory import Labelled, in_memory_dataset
from pocketkube.data.plain_pickle import decode
from pocketkube.errors import UserError
from pocketkube.files.below import files_below
from pocketkube.spec.sections import DatasetSettings
from pocketkube.value_range import to_range

_PIXELS = 3 * 32 * 32
# The files' names: training, then test.
_BINARY = {
    10: (r"data_batch_\d+\.bin", r"test_batch\.bin"),
    100: (r"train\.bin", r"test\.bin"),
}
_PYTHON = {10: (r"data_batch_\d+", r"test_batch"), 100: (r"train", r"test")}
# Photographs are hardly ever compressed to less than half.
_EXPANSION = 10


def load(path: Path, classes: int, settings: DatasetSettings) -> Dataset:
    """Loads CIFAR-10 or, with its fine labels, CIFAR-100.

    Args:
        path: The .tar.gz archive, or a folder with its files, or one with the archive in it.
        classes: 10 or 100.
        settings: Where `image_size` is given, images are resized to it.

    Raises:
        UserError: If files are missing or damaged, hold anything but arrays, or are there twice and
            differ.
    """
    files = _files(path, classes)
    for names, read in ((_BINARY[classes], _from_binary), (_PYTHON[classes], _from_python)):
        train, test = (sorted(name for name in files if re.fullmatch(p, name)) for p in names)
        if train and test:
            parts = [
                _joined([read(path, name, files[name], classes) for name in part])
                for part in (train, test)
            ]
            break
    else:
        raise UserError(
            f"{path}: holds no CIFAR-{classes} files, neither "
            f"{' and '.join(_BINARY[classes])} nor {' and '.join(_PYTHON[classes])}."
        )

    def finish(rows: np.ndarray) -> np.ndarray:
        size = settings.image_size
        return to_range(rows if size is None else resized(rows, size), settings.value_range)

    return in_memory_dataset(f"cifar{classes}", parts[0], parts[1], settings, finish)


def _files(path: Path, classes: int) -> dict[str, bytes]:
    """The data files' contents by base name. Nothing of an archive is ever written to disk."""
    wanted = re.compile("|".join((*_BINARY[classes], *_PYTHON[classes])))

    def is_wanted(place: str) -> bool:
        return wanted.fullmatch(PurePosixPath(place).name) is not None

    if path.is_dir():
        places = ((p.relative_to(path).as_posix(), p) for p in files_below(path))
        there = [(place, p) for place, p in places if is_wanted(place) and p.is_file()]
        # All are hidden where a link beside them led to them.
        chosen = [(place, p) for place, p in there if not _is_hidden(place)] or there
        found = _by_base_name(path, ((place, p.read_bytes()) for place, p in chosen))
        archives = [p for p in sorted(path.iterdir()) if re.match(rf"cifar-{classes}-.*tar", p.name)]
        return found or (_files(archives[0], classes) if archives else {})
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such folder or archive; give CIFAR-{classes}'s "
            f"cifar-{classes}-binary.tar.gz or cifar-{classes}-python.tar.gz."
        )
    try:
        members = tar_members(
            path, lambda place: is_wanted(place) and not _is_hidden(place), _EXPANSION
        )
        return _by_base_name(path, members)
    except Unreadable as error:
        raise UserError(f"{path}: is not a readable tar archive: {error}.") from error


def _by_base_name(path: Path, files: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    places: dict[str, PurePosixPath] = {}
    for written, content in files:
        place = PurePosixPath(written)
        name = place.name
        # What an archive has twice at one place is its later state, as when it is unpacked.
        if found.get(name, content) != content and places[name] != place:
            raise UserError(
                f"{path}: has both {places[name]} and {place}, which differ, but are called as one "
                "file of CIFAR; keep one of them, or give the folder that it is in."
            )
        found[name], places[name] = content, place
    return found


def _is_hidden(place: str) -> bool:
    """Whether a file is in such a folder as .git, which has files called test, too."""
    return any(re.match(r"\.[^.]", folder) for folder in PurePosixPath(place).parts[:-1])


def _from_binary(path: Path, name: str, content: bytes, classes: int) -> Labelled:
    """Rows of one label (CIFAR-100: the coarse one, then the fine one) and 3072 pixels."""
    labels = 1 if classes == 10 else 2
    if not content or len(content) % (labels + _PIXELS):
        raise UserError(
            f"{path}: {name} is damaged; its {len(content)} bytes are no multiple of "
            f"{labels + _PIXELS}."
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, labels + _PIXELS)
    return _checked(path, name, rows[:, labels:], rows[:, labels - 1], classes)


def _from_python(path: Path, name: str, content: bytes, classes: int) -> Labelled:
    key = "labels" if classes == 10 else "fine_labels"
    try:
        batch = decode(content)
    except Unreadable as error:
        raise UserError(f"{path}: {name} is no CIFAR-{classes} batch: {error}.") from error
    for each in ("data", key):
        if each not in batch:
            raise UserError(f"{path}: {name} is no CIFAR-{classes} batch: it has no {each}.")
    return _checked(path, name, _numbers(batch["data"]), _numbers(batch[key]), classes)


def _numbers(value: object) -> np.ndarray:
    """An array, or a list of whole numbers as one; of anything else one that is not of numbers."""
    if isinstance(value, np.ndarray):
        return value
    is_plain = isinstance(value, list) and all(type(each) is int for each in value)
    return np.asarray(value if is_plain else None)


def _checked(path: Path, name: str, pixels: np.ndarray, labels: np.ndarray, classes: int) -> Labelled:
    """Images `[N, 32, 32, 3]` from rows of all red, all green and all blue pixels."""
    are_classes = labels.dtype.kind in "ui" and labels.ndim == 1 and labels.size > 0
    if not are_classes or labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"{path}: {name} has labels that are not 0 to {classes - 1}.")
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _PIXELS):
        raise UserError(
            f"{path}: {name} must have {_PIXELS} bytes for each of its {len(labels)} labels. "
            f"Received: {pixels.dtype} of shape {pixels.shape}."
        )
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Labelled((images,), (labels.astype(np.int32),))


def _joined(parts: list[Labelled]) -> Labelled:
    return Labelled(
        (np.concatenate([part.inputs[0] for part in parts]),),
        (np.concatenate([part.labels[0] for part in parts]),),
    )
