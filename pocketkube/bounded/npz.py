"""Reads NumPy's .npz files in bounded memory, and nothing of them as a pickle."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pocketkube.bounded.limits import SPARSE_BYTES, Unreadable, plain_reasons
from pocketkube.bounded.zip_archive import Member, ZipArchive, opened_zip

_MAGIC, _ENDING = b"\x93NUMPY", ".npy"
# What ends the names of Keras's own files, as mnist.npz.
_TRAIN = "_train"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Npz:
    """The arrays of a file, each of which is read when it is asked for."""

    def __init__(self, archive: ZipArchive):
        self._archive = archive

    @property
    def names(self) -> list[str]:
        """What the arrays are called."""
        arrays = (name.removesuffix(_ENDING) for name in self._archive.names if name.endswith(_ENDING))
        return [name for name in arrays if name]

    def __getitem__(self, name: str) -> np.ndarray:
        """An array.

        Raises:
            Unreadable: If there is none of the name, or it is damaged, or of Python objects.
        """
        member = f"{name}{_ENDING}"
        with self._archive.opened(member) as opened:
            _check(opened, self._archive.size(member))
        with self._archive.opened(member) as opened, plain_reasons():
            array: np.ndarray = np.lib.format.read_array(opened, allow_pickle=False)
            if opened.read(1):
                raise Unreadable("there is more than the array's header says")
            return array


@contextmanager
def opened_npz(path: Path) -> Iterator[Npz]:
    """Opens a file.

    Args:
        path: The .npz file.

    Raises:
        Unreadable: If it is none, or larger than may be expected of its size.
    """
    with plain_reasons(), path.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            raise Unreadable("it is a single array, as np.save writes it, not an archive of arrays")
    with opened_zip(path, SPARSE_BYTES) as archive:
        yield Npz(archive)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file.

    Raises:
        Unreadable: As `opened_npz` and `Npz` do.
    """
    with opened_npz(path) as arrays:
        return {name: arrays[name] for name in arrays.names}


def of_training(names: Iterable[str]) -> dict[str, str]:
    """Which arrays are x, y and sample_weight, or x0, y0, …, where these are called x_train and so on.

    Args:
        names: Of all arrays; of a file that has an x or y itself none is taken for it.
    """
    given = list(names)
    if any(re.fullmatch(r"[xy]\d*", name) for name in given):
        return {}
    ours = rf"([xy]\d*|sample_weight){_TRAIN}"
    return {name.removesuffix(_TRAIN): name for name in given if re.fullmatch(ours, name)}


def refuse_no_examples(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses arrays that hold no real numbers, or one alone without an axis of examples.

    Raises:
        Unreadable: If there is such an array.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            is_text = array.dtype.kind in "US" and name.startswith("y")
            words = "; number the classes from 0" if is_text else ""
            raise Unreadable(f"{name} must hold real numbers{words}. Received: {array.dtype}")
        if array.ndim == 0:
            raise Unreadable(f"{name} must have an axis of examples. Received: a single number")


def _check(opened: Member, size: int) -> None:
    """Refuses a header that promises another size than is there, before NumPy makes room for it."""
    with plain_reasons():
        version = np.lib.format.read_magic(opened)
        if version not in _HEADERS:
            raise Unreadable(f"an array is of format {version}, which plain numbers do not need")
        shape, _, dtype = _HEADERS[version](opened)
        if dtype.hasobject:
            raise Unreadable("it holds Python objects, which are never loaded")
        promised = math.prod(shape) * dtype.itemsize
        if promised > size:
            raise Unreadable(f"an array's header promises {promised} bytes, where there are {size}")
