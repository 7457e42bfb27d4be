"""Reads the HDF5 file of a whole model, as Keras wrote it before its .keras files."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pocketkube.bounded.hdf5 import count_numbers
from pocketkube.errors import UserError, first_line
from pocketkube.older_keras.stored import StoredModel, StoredWeight, own_name, plain

# What each file of these formats begins with.
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, by how it begins."""
    return _begins(path, _HDF5)


def read_hdf5(path: Path) -> StoredModel:
    """Reads a model's configuration and weights; nothing is built or run.

    Args:
        path: An HDF5 file.

    Raises:
        UserError: If it is damaged or of another format, holds weights alone, or was not written by
            Keras 2 on TensorFlow.
    """
    if _begins(path, _ZIP):
        raise UserError(
            f"{path} is no HDF5 file, but one as .keras files are: rename it to "
            f"{path.with_suffix('.keras').name}."
        )
    try:
        count_numbers(path)
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or cut short, or no HDF5 file: {first_line(error)}"
        ) from error


def _begins(path: Path, mark: bytes) -> bool:
    # Whoever reads on says more of what cannot be read.
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(mark)) == mark
    return False


def _read(path: Path, file: h5py.File) -> StoredModel:
    if "model_config" not in file.attrs:
        marks = {*file.attrs, *file} & {"layer_names", "layers", "_layer_checkpoint_dependencies"}
        held = "holds weights alone, without the network" if marks else "holds no Keras model"
        raise UserError(
            f"{path} {held}: build the model where its code is, load_weights(...) there, and call "
            "model.save('net.keras')."
        )
    version = _text(file.attrs.get("keras_version", "1"))
    backend = _text(file.attrs.get("backend", "tensorflow"))
    if version.startswith("1") or backend != "tensorflow":
        raise UserError(
            f"{path} was written by Keras {version} on {backend}, which kept weights in another order: "
            "load and save it with Keras 2 on TensorFlow first."
        )
    training = file.attrs.get("training_config")
    group = _own(file, "model_weights")
    met: set[Any] = set()
    return StoredModel(
        plain(json.loads(_text(file.attrs["model_config"]))),
        {name: _weights(_own(group, name), met) for name in _names(group, "layer_names")},
        None if training is None else plain(json.loads(_text(training))),
        version,
    )


def _weights(group: h5py.Group, met: set[Any]) -> tuple[StoredWeight, ...]:
    """The weights of a layer; one that was met before, which would be read anew, is refused."""
    weights = []
    for name in _names(group, "weight_names"):
        stored = _own(group, name)
        if not isinstance(stored, h5py.Dataset):
            raise ValueError(f"{name} is no array")
        place = h5py.h5o.get_info(stored.id).addr
        if place in met:
            raise ValueError(f"{name} is an array of another name, too")
        met.add(place)
        weights.append(StoredWeight(own_name(name), np.asarray(stored)))
    return tuple(weights)


def _own(group: Any, name: str) -> Any:
    """What is called so; what a file names in other files is not read."""
    found = group[name]
    if found.file.filename != group.file.filename:
        raise ValueError(f"{name} stands in another file, {found.file.filename}")
    return found


def _names(group: h5py.Group, key: str) -> list[str]:
    """An attribute that is a list of names; long ones stand in parts."""
    if key in group.attrs:
        return [_text(name) for name in group.attrs[key]]
    names: list[str] = []
    part = 0
    while f"{key}{part}" in group.attrs:
        names += [_text(name) for name in group.attrs[f"{key}{part}"]]
        part += 1
    return names


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
