"""The data that a notebook has, as the data set that stages train on."""

import hashlib
import numbers
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from pocketkube.api.keywords import without_numpy
from pocketkube.data import load_dataset
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Arrays, Dataset
from pocketkube.data.in_memory import Labelled, examples_of_arrays, in_memory_dataset
from pocketkube.errors import UserError
from pocketkube.extension import datasets
from pocketkube.finite import refuse_not_finite
from pocketkube.graph.inputs import refuse_unknown_ids
from pocketkube.shapes import Shape, refuse_other_shapes
from pocketkube.spec.reading import parse_settings
from pocketkube.spec.sections import SOURCES, DatasetSettings, source_of
from pocketkube.stages.configs import Learning
from pocketkube.stages.tasks import settled_task
from pocketkube.structure import input_names, output_names
from pocketkube.training.answers import answered

Data: TypeAlias = Any
NAME = "data"
# So many lengths of arrays are told; nobody reads more.
SHOWN = 4
# So many elements of a pipeline are read twice, to see whether it is the same each time.
_LOOKED_AT = 4
# So often is that read again: two batches in turns stand as before every other time.
_READINGS = 6
# The least part of a stream's examples that are there again when it is read again; a batch may be left
# out at its end.
_ALIKE = 0.5
# Of fewer examples no three sets are made: a stream of so few is taken as it is.
_FEWEST = 10


@dataclass(frozen=True)
class Splits:
    """Data whose validation or test examples are its own, or a part of another size.

    Attributes:
        train: Examples: `(x, y)`, a tf.data.Dataset or a keras.utils.PyDataset of such; all splits
            have labels, or none has.
        validation: For decisions, such as which epoch is kept; held out of `train` if None.
        test: For figures only; held out of `train` if None.
        validation_fraction: Part that is held out, where there is no `validation`.
        test_fraction: Part that is held out, where there is no `test`.
        max_train: Use only the first so many training examples; a `validation` that is held out is
            among them.

    Example:
        >>> import numpy as np, pocketkube as pk
        >>> from pocketkube.models import build_model
        >>> model = build_model("lenet", (28, 28, 1), 2, width=0.25)
        >>> x, y = np.random.default_rng(0).random((64, 28, 28, 1)), np.arange(64) % 2
        >>> splits = pk.Splits((x[:48], y[:48]), test=(x[48:], y[48:]), validation_fraction=0.25)
        >>> pk.compare(model, model, splits).examples
        16
    """

    # Not shown: a prompt would print whole arrays.
    train: Data = field(repr=False)
    validation: Data = field(default=None, repr=False)
    test: Data = field(default=None, repr=False)
    validation_fraction: float = 0.1
    test_fraction: float = 0.2
    max_train: int | None = None

    def __post_init__(self) -> None:
        for name in ("validation_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 0.5:
                raise UserError(
                    f"Splits: {name} has to be above 0 and below 0.5; received {getattr(self, name)!r}."
                )
        whole = isinstance(self.max_train, int | np.integer | None)
        if not whole or (self.max_train is not None and self.max_train < 1):
            raise UserError(
                f"Splits: max_train has to be a whole number above 0; received {self.max_train!r}."
            )


def dataset_of(
    data: Data, model: keras.Model | None, function: str, rank: int | None = None
) -> Dataset:
    """Data as three splits that never overlap.

    Args:
        data: A spec's dataset (a name, a mapping, a path of an .npz or DatasetSettings); `(x, y)`,
            `(x, y, weights of examples)` or `x` alone; `Splits`; a tf.data.Dataset of such, batched or
            not; a keras.utils.PyDataset; or a data set that is there already. Inputs and labels are
            arrays, and lists, tuples or dicts of arrays where there are several: dicts by the names of
            the model's inputs and outputs, all others in the order of `model.inputs` and
            `model.outputs`, which is the alphabetical one of the names where outputs are a dict. Lists
            of numbers are arrays, too. Arrays reach the model as they are; all is read into memory, but
            for a spec's TFRecords.
        model: Whose inputs and outputs a dict's keys name; None takes keys in alphabetical order.
        function: The API's function, for messages.
        rank: How many axes a file's first input has, that of the examples included, where there is no
            model to tell whether a tf.data.Dataset is batched.

    Returns:
        The data set. The splits are the same on every call: of the same data no example is trained on
        in one and tested on in another.

    Raises:
        UserError: If it is no data, or does not fit the model.
    """
    if data is None:
        raise UserError(
            f"{function}: needs data; give (x, y), x alone, a tf.data.Dataset or a "
            "keras.utils.PyDataset of such, or a spec's dataset."
        )
    settings = _settings(data, function)
    if isinstance(data, Dataset) or settings is not None:
        dataset = data if settings is None else load_dataset(settings)
        for sentence in dataset.left_out:
            warnings.warn(f"{function}: {sentence}", stacklevel=2)
        if model is not None:
            _refuse_other_shapes(dataset.input_shapes, model, function)
        return dataset
    splits = data if isinstance(data, Splits) else Splits(data)
    train, validation, test = (
        None if part is None else _read(part, model, function, rank)
        for part in (splits.train, splits.validation, splits.test)
    )
    assert train is not None
    return in_memory_dataset(NAME, train, test, splits, lambda rows: rows, validation)


def examples_of(data: Data, model: keras.Model, function: str) -> Dataset:
    """Examples to look at, where nothing is trained: of inputs alone all are in each split.

    Args:
        data: As for `dataset_of`.
        model: As for it.
        function: As for it.
    """
    if are_split(data):
        return dataset_of(data, model, function)
    inputs = _read(data, model, function).inputs
    every = examples_of_arrays(inputs, (), ())
    return Dataset(NAME, tuple(x.shape[1:] for x in inputs), (), every, every, every)


def labelled_by(
    original: keras.Model | None,
    dataset: Dataset,
    learning: Learning,
    function: str,
    remedy: str = "",
) -> Dataset:
    """A data set with labels: its own, or what an original model answers.

    Args:
        original: The model whose answers stand in for labels; None if there is none.
        dataset: The data set.
        learning: Says what its outputs are, where they do not tell.
        function: The API's function, for messages.
        remedy: What else would be right where there is neither, as in ", or epochs=0".

    Raises:
        UserError: If there are no labels, and no original either.
    """
    if dataset.labels:
        return dataset
    if original is None:
        raise UserError(
            f"{function}: the data have no labels, so that there is nothing to learn but a teacher's "
            f"answers; give teacher=model, the uncompressed one, or data=(x, y){remedy}."
        )
    return answered(dataset, original, settled_task(learning, original, dataset))


def inputs_of(data: Data, model: keras.Model, function: str, count: int, seed: int) -> Arrays:
    """Examples to calibrate on, without their labels: of the training split where data are split.

    Args:
        data: As for `dataset_of`; or inputs alone: an array, a list or dict of arrays, a data set of
            such.
        model: Whose inputs a dict's keys name.
        function: The API's function, for messages.
        count: How many to choose at random, where there are more.
        seed: The choice follows from it.
    """
    return materialize(examples_of(data, model, function).train, count, seed)[0]


def are_split(data: Data) -> bool:
    """Whether data have labels or are split; of inputs alone all may be looked at."""
    if data is None:
        return False
    if isinstance(data, tf.data.Dataset):
        return isinstance(data.element_spec, tuple) and len(data.element_spec) > 1
    if isinstance(data, keras.utils.PyDataset):
        return isinstance(data[0], tuple) and len(data[0]) > 1
    if isinstance(data, Dataset | Splits | DatasetSettings | str | Path):
        return True
    return isinstance(data, tuple) or _is_source(data)


def _settings(data: Data, function: str) -> DatasetSettings | None:
    if isinstance(data, DatasetSettings):
        return data
    if isinstance(data, str | Path):
        return parse_settings(DatasetSettings, source_of(str(data)), f"{function}: data")
    if _is_source(data):
        return parse_settings(DatasetSettings, without_numpy(data), f"{function}: data")
    return None


def _is_source(data: Data) -> bool:
    """Whether a mapping is a spec's dataset, and not inputs by their names."""
    if not isinstance(data, Mapping):
        return False
    if any(isinstance(data.get(name), str | Path) for name in SOURCES):
        return True
    # Settings of a data set that a package adds are a mapping themselves.
    settings = [value for value in data.values() if isinstance(value, Mapping)]
    if any(not hasattr(each, "shape") for value in settings for each in value.values()):
        return True
    added = [data[name] for name in datasets.names() if name in data]
    return any(value is None or isinstance(value, Mapping) for value in added)


def _read(data: Data, model: keras.Model | None, function: str, rank: int | None = None) -> Labelled:
    """Inputs and labels in the model's order and weights, as arrays; no labels where there are none."""
    found = _as_arrays(data, model, function, rank)
    if not isinstance(data, tf.data.Dataset | keras.utils.PyDataset):
        return found
    digests = _digests((*found.inputs, *found.labels))
    if not _changes(data):
        return replace(found, same=_repeated(digests))
    # Examples are held out by what they are: they stand in another place in every call.
    again = _as_arrays(data, model, function, rank)
    known = np.isin(digests, _digests((*again.inputs, *again.labels)))
    if known.mean() < _ALIKE:
        warnings.warn(
            f"{function}: data: {1 - known.mean():.0%} of the examples are others whenever they are "
            "read, as by a random map: what is held out here may be trained on in another call. Give "
            "Splits(train=…, validation=…, test=…), or training={'augmentation': …} in place of the "
            "map.",
            stacklevel=4,
        )
    order = np.argsort(digests, kind="stable")
    keys = np.array([_keys(digests[row]) for row in order])
    inputs, labels = (tuple(x[order] for x in arrays) for arrays in (found.inputs, found.labels))
    weights = None if found.weights is None else found.weights[order]
    return Labelled(inputs, labels, weights, keys, _repeated(digests[order]))


def _repeated(digests: np.ndarray) -> np.ndarray | None:
    """Numbers, `[N]`, that are equal where a stream gives an example again, as after repeat(2).

    None where it does not: of what merely occurs several times, as blank images do, each is an example.
    """
    _, kinds, counts = np.unique(digests, return_inverse=True, return_counts=True)
    times = int(np.gcd.reduce(counts))
    if times == 1 or len(digests) < times * _FEWEST:
        return None
    order = np.argsort(kinds, kind="stable")
    occurrence = np.empty_like(kinds)
    occurrence[order] = np.arange(len(kinds)) - np.repeat(np.cumsum(counts) - counts, counts)
    before = np.cumsum(counts // times) - counts // times
    return before[kinds] + occurrence % (counts // times)[kinds]


def _as_arrays(data: Data, model: keras.Model | None, function: str, rank: int | None) -> Labelled:
    """What `_read` gives, in the order in which it is read."""
    if isinstance(data, tf.data.Dataset):
        x, y, w = _parts(_of_tensors(data, model, function, rank), function)
    elif isinstance(data, keras.utils.PyDataset):
        x, y, w = _parts(_of_batches(data, function), function)
    else:
        x, y, w = _parts(data, function)
    names = (None, None) if model is None else (input_names(model), output_names(model))
    inputs = _flat(x, names[0], f"{function}: data: x")
    labels = () if y is None else _flat(y, names[1], f"{function}: data: y")
    weights = () if w is None else (_array(w, f"{function}: data: weights of examples"),)
    lengths = [len(array) if array.ndim else 0 for array in (*inputs, *labels, *weights)]
    if not inputs or len(set(lengths)) > 1 or lengths[0] == 0:
        shown = " and ".join(map(str, lengths[:SHOWN])) or "none"
        more = f" and so on, in {len(lengths)} arrays" if len(lengths) > SHOWN else ""
        raise UserError(
            f"{function}: data: arrays need as many examples each, one at least; there are "
            f"{shown}{more}."
        )
    if model is not None:
        _refuse_other_shapes([x.shape[1:] for x in inputs], model, function)
    refuse_not_finite(f"{function}: data", "inputs", inputs)
    refuse_not_finite(f"{function}: data", "labels", labels)
    if model is not None:
        refuse_unknown_ids(f"{function}: data", model, inputs)
    return Labelled(tuple(map(_as_taken, inputs)), labels, weights[0] if weights else None)


def _changes(data: Data) -> bool:
    """Whether a stream gives something else when it is read again, as one that shuffles does."""
    first = _beginning(data)
    for _ in range(_READINGS if first else 0):
        if isinstance(data, keras.utils.PyDataset):
            data.on_epoch_end()
        again = _beginning(data)
        if len(first) != len(again):
            return True
        if any(not np.array_equal(one, other) for one, other in zip(first, again, strict=True)):
            return True
    return False


def _beginning(data: Data) -> list[Any]:
    """The first arrays of a stream; none of what is none."""
    if isinstance(data, tf.data.Dataset):
        return keras.tree.flatten(list(data.take(_LOOKED_AT)))
    if isinstance(data, keras.utils.PyDataset):
        count = min(_LOOKED_AT, data.num_batches or _LOOKED_AT)
        return keras.tree.flatten([data[number] for number in range(count)])
    return []


def _digests(arrays: Arrays) -> np.ndarray:
    """What each example is, `[N]`."""
    rows = (
        b"".join(np.ascontiguousarray(x[row]).tobytes() for x in arrays)
        for row in range(len(arrays[0]))
    )
    return np.array([hashlib.sha256(row).digest() for row in rows], "S32")


def _keys(digest: bytes) -> tuple[float, float]:
    """Two numbers from 0 to 1 that have nothing to do with each other."""
    # NumPy leaves out zeros at the end.
    said = digest.ljust(32, b"\0").hex()
    return int(said[:13], 16) / 16**13, int(said[13:26], 16) / 16**13


def _parts(data: Data, function: str) -> tuple[Any, Any, Any]:
    """Inputs, labels and weights of examples."""
    if not isinstance(data, tuple):
        return data, None, None
    if len(data) not in (2, 3):
        raise UserError(
            f"{function}: data: a tuple is (x, y) or (x, y, weights of examples), several inputs a "
            f"list or a dict in it; received a tuple of {len(data)}."
        )
    return data[0], data[1], data[2] if len(data) > 2 else None


def _flat(structure: Any, names: Sequence[str] | None, where: str) -> Arrays:
    """Arrays in the model's order: by name where they are a dict."""
    if structure is None:
        raise UserError(f"{where}: there is none; give an array.")
    if isinstance(structure, Mapping):
        known = sorted(structure) if names is None else [name for name in names if name in structure]
        unknown = set(structure) - set(known)
        missing = set(names or ()) - set(structure) if where.endswith("x") else set()
        if unknown or missing:
            raise UserError(
                f"{where}: keys have to be the model's, {', '.join(names or ())}; received "
                f"{', '.join(map(str, structure))}."
            )
        return tuple(_array(structure[name], where) for name in known)
    if isinstance(structure, list | tuple) and _are_several(structure, names):
        return tuple(_array(each, where) for each in structure)
    return (_array(structure, where),)


def _are_several(values: Sequence[Any], names: Sequence[str] | None) -> bool:
    """Whether a list is one of arrays, and not an array that is written as lists of lists."""
    if not values or isinstance(values[0], numbers.Number):
        return False
    if names is not None and len(values) == len(names):
        return np.ndim(values[0]) > 0
    if isinstance(values[0], list | tuple):
        return False
    alike = len({np.shape(value) for value in values}) == 1
    # More arrays than one is taken: an example each.
    return np.ndim(values[0]) > 0 and not (alike and names is not None and len(names) == 1)


def _array(value: Any, where: str) -> np.ndarray:
    try:
        array = _dense(value, where)
    except ValueError:
        raise UserError(
            f"{where}: has to be an array, an example a row; the rows of the list differ in length."
        ) from None
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise UserError(
            f"{where}: has to be an array of real numbers, an example a row; received "
            f"{type(value).__name__} of {array.dtype}."
        )
    return array


def _as_taken(array: np.ndarray) -> np.ndarray:
    """Numbers as a model takes them: pixels and other floats as float32, other integers as int32."""
    if array.dtype == np.uint8 and array.ndim > 2:
        return array.astype(np.float32)
    kind = np.float32 if np.issubdtype(array.dtype, np.floating) else np.int32
    return array.astype(kind, copy=False)


def _refuse_other_shapes(given: Sequence[Shape], model: keras.Model, function: str) -> None:
    wanted = [tuple(x.shape[1:]) for x in model.inputs]
    refuse_other_shapes(f"{function}: data", given, model.name, wanted)


def _of_tensors(
    data: tf.data.Dataset, model: keras.Model | None, function: str, rank: int | None
) -> Any:
    """All examples of a tf.data.Dataset, in the structure of its elements."""
    specs = keras.tree.flatten(data.element_spec)
    for spec in specs:
        if not isinstance(spec, tf.TensorSpec):
            raise _of_other_kind(spec, f"{function}: data")
    if int(data.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise UserError(
            f"{function}: data: the tf.data.Dataset never ends; leave out repeat(), or end it with "
            "take(n)."
        )
    if not _is_batched(data, model, rank):
        # Examples that may differ in length come one by one, to be told of in words.
        same = all(spec.shape.is_fully_defined() for spec in specs)
        data = data.batch(256 if same else 1)
    return _joined(data, function)


def _is_batched(data: tf.data.Dataset, model: keras.Model | None, rank: int | None) -> bool:
    spec = data.element_spec
    inputs = spec[0] if isinstance(spec, tuple) else spec
    first = keras.tree.flatten(inputs)[0]
    if first.shape.rank is None:
        raise UserError("data: the rank of the tf.data.Dataset's tensors is unknown; set their shapes.")
    if model is None:
        # A batch that is always full has its size in place of None.
        return first.shape.rank == rank if rank else None in first.shape[:1]
    names = input_names(model)
    named = isinstance(inputs, Mapping) and min(inputs) in names
    return first.shape.rank == len(model.inputs[names.index(min(inputs)) if named else 0].shape)


def _of_batches(data: keras.utils.PyDataset, function: str) -> Any:
    if data.num_batches is None:
        raise UserError(f"{function}: data: the PyDataset never ends; give its length by __len__.")
    return _joined((data[number] for number in range(data.num_batches)), function)


def _joined(source: Iterable[Any], function: str) -> Any:
    batches = list(source)
    if not batches:
        raise UserError(f"{function}: data: there is no example in it.")
    return keras.tree.map_structure(lambda *parts: _whole(parts, f"{function}: data"), *batches)


def _whole(parts: Sequence[Any], where: str) -> np.ndarray:
    """Batches of arrays as one array."""
    arrays = [_dense(part, where) for part in parts]
    shapes = list(dict.fromkeys(array.shape[1:] for array in arrays))
    if len(shapes) > 1:
        raise UserError(
            f"{where}: an example is of shape {shapes[0]} in one batch and {shapes[1]} in another: pad "
            "all to one length, as padded_batch(..., padded_shapes=…) or keras.utils.pad_sequences do."
        )
    return np.concatenate(arrays)


def _dense(value: Any, where: str) -> np.ndarray:
    if isinstance(value, tf.RaggedTensor | tf.SparseTensor):
        raise _of_other_kind(value, where)
    return np.asarray(value)


def _of_other_kind(value: Any, where: str) -> UserError:
    """What to say of a tensor that is not dense, or of what such are described by."""
    kind = type(value).__name__
    advice = "give dense tensors of one length"
    if kind.startswith("Ragged"):
        advice = "pad all to one length, as to_tensor(shape=(None, length)) does"
    elif kind.startswith("Sparse"):
        advice = "make them dense, as tf.sparse.to_dense does"
    return UserError(f"{where}: takes dense tensors, and these are of a {kind}: {advice}.")
