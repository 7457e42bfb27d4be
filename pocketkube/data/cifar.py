"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), from the original binary or python files."""

import io
import pickle
import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pocketkube.bounded.limits import Unreadable
from pocketkube.bounded.streams import tar_members
from pocketkube.data.dataset import Dataset
from pocketkube.data.images import resized, to_range
from pocketkube.data.in_memory import Labelled, in_memory_dataset
from pocketkube.errors import UserError
from pocketkube.spec.sections import DatasetSettings

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
        UserError: If files are missing or damaged, or hold anything but arrays.
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
    if path.is_dir():
        found = {p.name: p.read_bytes() for p in sorted(path.rglob("*")) if _is(wanted, p)}
        archives = [p for p in sorted(path.iterdir()) if re.match(rf"cifar-{classes}-.*tar", p.name)]
        return found or (_files(archives[0], classes) if archives else {})
    if not path.is_file():
        raise UserError(
            f"{path}: there is no such folder or archive; give CIFAR-{classes}'s "
            f"cifar-{classes}-binary.tar.gz or cifar-{classes}-python.tar.gz."
        )
    try:
        members = tar_members(path, lambda name: wanted.fullmatch(_base(name)) is not None, _EXPANSION)
        return {_base(name): content for name, content in members}
    except Unreadable as error:
        raise UserError(f"{path}: is not a readable tar archive: {error}.") from error


def _is(wanted: re.Pattern[str], path: Path) -> bool:
    return path.is_file() and wanted.fullmatch(path.name) is not None


def _base(name: str) -> str:
    return PurePosixPath(name).name


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
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        batch = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        pixels = np.asarray(batch["data"])
        labels = np.asarray(batch["labels" if classes == 10 else "fine_labels"])
    except UserError as error:
        raise UserError(f"{path}: {name} {error}") from error
    except Exception as error:  # A damaged pickle may raise anything.
        raise UserError(
            f"{path}: {name} is no CIFAR-{classes} batch ({type(error).__name__}: {error})."
        ) from error
    return _checked(path, name, pixels, labels, classes)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles NumPy arrays and plain Python values; code is never run."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            # How protocol 2 writes bytes.
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise UserError(f"asks for {module}.{name}; only arrays are loaded from such a file.")
        # NumPy 2 keeps the old place only with a warning.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _checked(path: Path, name: str, pixels: np.ndarray, labels: np.ndarray, classes: int) -> Labelled:
    """Images `[N, 32, 32, 3]` from rows of all red, all green and all blue pixels."""
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _PIXELS):
        raise UserError(
            f"{path}: {name} must have {_PIXELS} bytes for each of its {len(labels)} labels. "
            f"Received: {pixels.dtype} of shape {pixels.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"{path}: {name} has labels that are not 0 to {classes - 1}.")
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Labelled((images,), (labels.astype(np.int32),))


def _joined(parts: list[Labelled]) -> Labelled:
    return Labelled(
        (np.concatenate([part.inputs[0] for part in parts]),),
        (np.concatenate([part.labels[0] for part in parts]),),
    )
