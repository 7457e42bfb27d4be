"""MNIST and its relatives, from the original IDX files."""

import math
from pathlib import Path

import numpy as np

from pocketkube.bounded.limits import Unreadable
from pocketkube.bounded.streams import opened_stream
from pocketkube.data.dataset import Dataset
from pocketkube.data.images import padded, resized
from pocketkube.data.in_memory import Labelled, in_memory_dataset
from pocketkube.errors import UserError
from pocketkube.spec.sections import DatasetSettings
from pocketkube.spec.sections.dataset import IDX_HINT
from pocketkube.value_range import to_range

_UNSIGNED_BYTES = 8


def load(folder: Path, settings: DatasetSettings) -> Dataset:
    """Loads the folder's four files; "t10k" is the test set.

    Images keep their 28 x 28 pixels. A larger `image_size` puts them in the middle of a black
    frame, as is usual for LeNet and ResNet on MNIST; a smaller one shrinks them.

    Raises:
        UserError: If the folder or a file is missing, or a file is damaged.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder of IDX files. {IDX_HINT}")
    train, test = (_part(folder, part, settings.labels) for part in ("train", "t10k"))

    def finish(rows: np.ndarray) -> np.ndarray:
        size = settings.image_size
        if size is not None:
            larger = size[0] >= rows.shape[1] and size[1] >= rows.shape[2]
            rows = padded(rows, size) if larger else resized(rows, size)
        return to_range(rows, settings.value_range)

    return in_memory_dataset(str(folder), train, test, settings, finish)


def _part(folder: Path, part: str, labelled: bool) -> Labelled:
    images = read_idx(_find(folder, f"{part}-images", 3), axes=3)
    if 0 in images.shape[1:]:
        raise UserError(f"{folder}: the {part} images have no pixels, but shape {images.shape[1:]}.")
    inputs = (images[..., None],)
    if labelled:
        return Labelled(inputs, (_labels(folder, part, len(images)),))
    # Labels that are not used still say which examples are held out, where they can.
    try:
        return Labelled(inputs, (), strata=_labels(folder, part, len(images)))
    except UserError:
        return Labelled(inputs, ())


def _labels(folder: Path, part: str, count: int) -> np.ndarray:
    path = _find(folder, f"{part}-labels", 1)
    labels = read_idx(path, axes=1)
    if len(labels) != count:
        raise UserError(f"{path}: has {len(labels)} labels for {count} images.")
    return labels


def _find(folder: Path, stem: str, axes: int) -> Path:
    """The file under any of its usual names."""
    for name in (f"{stem}-idx{axes}-ubyte", f"{stem}.idx{axes}-ubyte", stem):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise UserError(
        f"{folder}: has no file {stem}-idx{axes}-ubyte or {stem}-idx{axes}-ubyte.gz. {IDX_HINT}"
    )


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, gzipped or not.

    Raises:
        UserError: If it is damaged, or has another type or number of axes.
    """
    try:
        with opened_stream(path) as stream:
            shape = _shape(path, stream.read(4 + 4 * axes), axes)
            expected = math.prod(shape)
            content = stream.read(expected + 1)
    except Unreadable as error:
        raise UserError(f"{path}: cannot be read: {error}.") from error
    if len(content) != expected:
        has = f"{len(content)} of them" if len(content) < expected else "more"
        raise UserError(f"{path}: is damaged; its header promises {expected} bytes, it has {has}.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, axes: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * axes or header[:4] != bytes((0, 0, _UNSIGNED_BYTES, axes)):
        raise UserError(
            f"{path}: is not an IDX file of unsigned bytes with {axes} axes; "
            f"it begins with {header[:4].hex()}, not {bytes((0, 0, 8, axes)).hex()}."
        )
    return tuple(int(size) for size in np.frombuffer(header, ">u4", axes, 4))
