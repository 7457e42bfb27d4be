"""Packed files: a zip archive with a Keras model's configuration and its weights in small forms."""

import json
import lzma
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pocketkube.bounded.limits import SPARSE_BYTES, Unreadable, most_bytes, refuse_above
from pocketkube.bounded.variables import room_for
from pocketkube.bounded.zip_archive import ZipArchive, opened_zip
from pocketkube.errors import UserError
from pocketkube.files.whole import replaced_file
from pocketkube.graph.frozen import freeze_inside
from pocketkube.graph.names import named_layers
from pocketkube.keras_private import ObjectSharingScope, flat_layers
from pocketkube.loading import CONFIG, config_of, load_added_layers, why_not_loaded
from pocketkube.packing.entries import FLOAT_BYTES, Entry, Streams, read_entry, write_entry
from pocketkube.packing.forms import Form

FORMAT = "pocketkube-packed-1"
HEADER = "packed.json"
# Keras's word for an object that a configuration holds more than once.
SHARED_ID = "shared_object_id"
STREAMS = ("zeros", "indices", "floats", "others")
# A form of its own is worth it from so many zeros on: a bit for each weight.
ZEROS_WORTH = 1 / (8 * FLOAT_BYTES)


class Header(BaseModel):
    """What stands in packed.json: the weights in the order in which Keras's layers keep them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: str
    weights: list[Entry]


@dataclass(frozen=True)
class PackedSize:
    """What a packed model takes.

    Attributes:
        file_bytes: The file.
        huffman_bytes: The weights as Deep Compression counts them (Han et al., 2016): places of zeros
            and indices after Huffman coding, all other numbers as they are.
    """

    file_bytes: int
    huffman_bytes: int


def packs(model: keras.Model, forms: Mapping[str, Form]) -> bool:
    """Whether a model has weights that take less in another form than as they are.

    Zeros count only in what multiplies: every new bias is zero.
    """
    if forms:
        return True
    matrices = (np.asarray(w) for w in model.trainable_weights if len(w.shape) > 1)
    return any((matrix == 0).mean() > ZEROS_WORTH for matrix in matrices)


def write_packed(path: Path, model: keras.Model, forms: Mapping[str, Form]) -> PackedSize:
    """Writes a model as a packed file.

    What only training needs, the optimizer's state, is left out.

    Args:
        path: The file to write.
        model: The model.
        forms: The forms of weights that have one, by the weight's name, as in left/conv/kernel. Zeros
            are found without.

    Returns:
        How much it takes.

    Raises:
        UserError: If the model needs files beside its weights.
        ValueError: If there is no weight of a form's name, or it is not what the form stands for.
    """
    _refuse_assets(model)
    streams, entries, left = Streams(), [], dict(forms)
    for name, value in _variables(_stores(model)):
        try:
            entries.append(write_entry(np.asarray(value), left.pop(name, None), streams))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if left:
        raise ValueError(f"{model.name} has no weight {', '.join(left)}")
    header = Header(format=FORMAT, weights=entries)
    members = {
        HEADER: header.model_dump_json(exclude_defaults=True).encode(),
        CONFIG: json.dumps(_config(model)).encode(),
        **{name: _planes(name, bytes(getattr(streams, name))) for name in STREAMS},
    }
    with replaced_file(path) as aside:
        with zipfile.ZipFile(aside, "w") as archive:
            for name, content in members.items():
                archive.writestr(_member(name, content), content, compresslevel=9)
        stored = len(streams.floats) + len(streams.others)
        return PackedSize(aside.stat().st_size, stored + -(-streams.huffman_bits // 8))


def load_packed(path: Path) -> keras.Model:
    """Restores the Keras model of a packed file, its weights bit for bit as they were.

    The configuration is read in Keras's safe mode, and nothing is taken from the file that the model
    has no room for.

    Args:
        path: The file.

    Returns:
        An ordinary model.

    Raises:
        UserError: If the file is missing, damaged or no packed file, or its model cannot be built here.
    """
    with _opened(path) as archive:
        header = _header(archive)
        config = config_of(archive)
        load_added_layers(config)
        try:
            with ObjectSharingScope(), room_for(_numbers(header, path)):
                model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        except Unreadable:
            raise
        except Exception as error:
            raise UserError(why_not_loaded(path, config, error)) from error
        if not isinstance(model, keras.Model):
            raise ValueError(f"{CONFIG} describes no model")
        stores = _stores(model)
        found = _weights(archive, header, stores)
    for _, layer, store in stores:
        values = {key: next(found)[1] for key in store}
        if values:
            layer.load_own_variables(values)
    freeze_inside(model)
    return model


def read_forms(path: Path, model: keras.Model) -> dict[str, Form]:
    """The forms of a packed file's weights.

    Args:
        path: The file.
        model: The model that it holds.

    Returns:
        The forms of those weights that have one, by the weight's name.

    Raises:
        UserError: If the file is missing, damaged, no packed file, or that of another model.
    """
    with _opened(path) as archive:
        weights = _weights(archive, _header(archive), _stores(model))
        return {name: form for name, _, form in weights if form is not None}


def _config(model: keras.Model) -> Any:
    """The model's configuration, in which a layer that several others hold is told to be one."""
    with ObjectSharingScope():
        # Keras marks what it has met before: the second time on, that is everything.
        keras.saving.serialize_keras_object(model)
        config = keras.saving.serialize_keras_object(model)
    # It does so by places in memory, but the same model is to give the same file.
    layers = {id(layer): number for number, layer in enumerate(flat_layers(model))}
    marked = list(_marked(config))
    met = Counter(node[SHARED_ID] for node in marked)
    for node in marked:
        place = node.pop(SHARED_ID)
        if place in layers and met[place] > 1:
            node[SHARED_ID] = layers[place]
    return config


def _marked(node: Any) -> Iterator[dict[str, Any]]:
    """The parts of a configuration that Keras has marked."""
    if isinstance(node, dict):
        if SHARED_ID in node:
            yield node
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for part in node:
        yield from _marked(part)


def _refuse_assets(model: keras.Model) -> None:
    for layer in flat_layers(model):
        if hasattr(layer, "save_assets"):
            raise UserError(
                f"{layer.name} ({type(layer).__name__}) keeps files beside its weights, which a packed "
                "file has no place for: leave it out of the model, and prepare the data before."
            )


Stores = Sequence[tuple[str, Any, Mapping[str, Any]]]


def _stores(model: keras.Model) -> Stores:
    """Each layer's name, itself and what it has to remember, by its own names, as Keras saves it."""
    names = {id(layer): name for name, layer in named_layers(model)}
    found = []
    for layer in flat_layers(model):
        store: dict[str, Any] = {}
        layer.save_own_variables(store)
        found.append((names.get(id(layer), ""), layer, store))
    return found


def _variables(stores: Stores) -> list[tuple[str, Any]]:
    """What all layers have to remember, each by its name."""
    return [
        (f"{layer}/{getattr(value, 'name', '')}", value)
        for layer, _, store in stores
        for value in store.values()
    ]


def _planes(name: str, content: bytes) -> bytes:
    """Float32 numbers as all first bytes, all second ones, …: exponents resemble each other."""
    if name != "floats":
        return content
    return np.frombuffer(content, np.uint8).reshape(-1, FLOAT_BYTES).T.tobytes()


def _member(name: str, content: bytes) -> zipfile.ZipInfo:
    """An entry without a date, so that the same model gives the same file, packed as it is smallest."""
    member = zipfile.ZipInfo(name)
    sizes = {
        zipfile.ZIP_STORED: len(content),
        zipfile.ZIP_DEFLATED: len(zlib.compress(content, 9)),
        zipfile.ZIP_LZMA: len(lzma.compress(content, lzma.FORMAT_ALONE)),
    }
    member.compress_type = min(sizes, key=lambda kind: sizes[kind])
    return member


@contextmanager
def _opened(path: Path) -> Iterator[ZipArchive]:
    """A packed file; whatever is wrong with its content is one line."""
    if not path.is_file():
        raise UserError(f"There is no packed file {path}.")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no packed model, or cut short: it is no archive, as those are.")
    try:
        with opened_zip(path, SPARSE_BYTES) as archive:
            if HEADER not in archive.names:
                raise UserError(f"{path} is no packed model: it has no {HEADER}; use model.packed.")
            yield archive
    except ValidationError as error:
        raise UserError(f"{path} is damaged: {HEADER}: {error.errors()[0]['msg']}.") from error
    # What is read fits no model.
    except (Unreadable, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _header(archive: ZipArchive) -> Header:
    header = Header.model_validate_json(archive.text(HEADER))
    if header.format != FORMAT:
        raise ValueError(f"its format is {header.format[:40]}, not {FORMAT}")
    return header


def _numbers(header: Header, path: Path) -> int:
    """How many numbers all weights are: no more than may be expected of the file's size."""
    count = sum(math.prod(entry.shape) for entry in header.weights)
    stored = path.stat().st_size
    most = most_bytes(stored, always=SPARSE_BYTES)
    refuse_above(most, FLOAT_BYTES * count, stored, "use the .keras file that it was written from")
    return count


def _weights(
    archive: ZipArchive, header: Header, stores: Stores
) -> Iterator[tuple[str, np.ndarray, Form | None]]:
    """The name of each weight, its numbers and its form; all of them checked before the first."""
    variables = _variables(stores)
    dtypes = [np.asarray(value).dtype for _, value in variables]
    if len(header.weights) != len(variables):
        raise ValueError(f"it has {len(header.weights)} weights, and its model {len(variables)}")
    for entry, (name, variable), dtype in zip(header.weights, variables, dtypes, strict=True):
        if tuple(entry.shape) != tuple(variable.shape) or entry.dtype != str(dtype):
            raise ValueError(
                f"{name} is {dtype} {tuple(variable.shape)} in its model, and "
                f"{entry.dtype} {tuple(entry.shape)} in {HEADER}"
            )
    count = sum(int(np.prod(entry.shape)) for entry in header.weights)
    size = sum(int(np.prod(e.shape)) * d.itemsize for e, d in zip(header.weights, dtypes, strict=True))
    largest = {"zeros": count, "indices": count, "floats": size, "others": size}
    contents = {name: archive.read(name, largest[name]) for name in STREAMS}
    floats = np.frombuffer(contents["floats"], np.uint8).reshape(FLOAT_BYTES, -1)
    contents["floats"] = floats.T.tobytes()
    readers = {name: _StreamReader(name, content) for name, content in contents.items()}
    streams_in: dict[str, Callable[[int], bytes]] = {name: each.take for name, each in readers.items()}
    found = [
        (name, *read_entry(entry, dtype, streams_in))
        for entry, (name, _), dtype in zip(header.weights, variables, dtypes, strict=True)
    ]
    for reader in readers.values():
        reader.end()
    return iter(found)


class _StreamReader:
    """Reads a stream's bytes piece by piece."""

    def __init__(self, name: str, content: bytes) -> None:
        self._name, self._content, self._offset = name, content, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._offset + count
        if end > len(self._content):
            raise ValueError(f"{self._name} ends after {len(self._content)} bytes of {end} or more")
        piece, self._offset = self._content[self._offset : end], end
        return piece

    def end(self) -> None:
        """Refuses bytes that are left."""
        if self._offset != len(self._content):
            raise ValueError(f"{self._name} has {len(self._content) - self._offset} bytes too many")
