"""Loads the data set that a spec names."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import tensorflow as tf

from pocketkube.data import cifar, digits, idx, image_folder, npz, parallel_text, tfrecord
from pocketkube.data.dataset import Dataset, Examples, Explain
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.errors import DataError, MachineError, UserError
from pocketkube.extension import datasets
from pocketkube.spec.sections import AddedDataset, DatasetSettings
from pocketkube.storage import Fetched, Location, parse_location

# Folders and archives of images, which are all brought to a range.
_OF_IMAGES = ("idx", "cifar10", "cifar100", "image_folder")


def load_dataset(settings: DatasetSettings, base: Path = Path()) -> Dataset:
    """Loads a data set and splits it.

    The splits are the same on every call, whatever the run's seed, and no example is in two of
    them. A source's own test set stays the test set.

    Args:
        settings: The source, and what is done to its images.
        base: The folder that relative paths start from; s3:// addresses are what they are.

    Returns:
        The data set, without labels where it has none or they are not asked for. Its images are float32
        `[height, width, channels]` in `settings.value_range`.

    Raises:
        DataError: If the source is missing or damaged, or its labels or inputs are unusable.
        MachineError: If there is not the space or the memory for it.
    """
    try:
        dataset = _load(settings, base)
    except MachineError:
        raise
    except UserError as error:
        raise DataError(str(error)) from error
    return dataset if settings.labels else without_labels(dataset)


def without_labels(dataset: Dataset) -> Dataset:
    """The same splits of the inputs alone."""
    return replace(
        dataset,
        labels=(),
        train=_inputs_of(dataset.train),
        validation=_inputs_of(dataset.validation),
        test=_inputs_of(dataset.test),
    )


def _inputs_of(examples: Examples) -> Examples:
    if examples.arrays is not None:
        return examples_of_arrays(examples.arrays[0], (), ())
    return replace(
        examples,
        decode=lambda *raw, **part: (examples.decode(*raw, **part)[0], ()),
        labels=(),
        pairs=None,
    )


def _load(settings: DatasetSettings, base: Path) -> Dataset:
    if settings.added is not None:
        return _load_added(settings.added, settings)
    if settings.is_none:
        raise UserError("dataset: none has no examples; name what has, as digits or an .npz file.")
    kind, where = settings.source
    if kind == "builtin":
        return replace(digits.load(settings), value_range=settings.value_range)
    location = parse_location(where, base)
    if kind == "tfrecord":
        return replace(tfrecord.load(location, settings), value_range=settings.value_range)
    copy = location.fetch()
    with copy.called(str(location)):
        dataset = _read(kind, copy.path, settings)
    if kind in _OF_IMAGES:
        dataset = replace(dataset, value_range=settings.value_range)
    return _of(location, copy, dataset)


def _load_added(added: Mapping[str, AddedDataset], settings: DatasetSettings) -> Dataset:
    ((name, source),) = added.items()
    found = source.load(settings)
    if not isinstance(found, Dataset):
        raise UserError(
            f"The data set {name} of {datasets.origin(name).who} loads a {type(found).__name__}, not a "
            "pocketkube.data.Dataset."
        )
    return found


def _read(kind: str, path: Path, settings: DatasetSettings) -> Dataset:
    match kind:
        case "npz":
            return npz.load(path, settings)
        case "idx":
            return idx.load(path, settings)
        case "cifar10":
            return cifar.load(path, 10, settings)
        case "cifar100":
            return cifar.load(path, 100, settings)
        case "text":
            return parallel_text.load(path, settings)
        case _:
            return image_folder.load(path, settings)


def _of(location: Location, copy: Fetched, dataset: Dataset) -> Dataset:
    """The data set under its location's name; what it reads later on stays here as long as it does."""

    here, name = str(copy.path), str(location)
    if here == name:
        return dataset

    def kept(part: Examples) -> Examples:
        if part.arrays:
            return part
        explain = part.explain and partial(_explained, copy, name, part.explain)
        return replace(part, open=partial(_open_held, copy, part.open), explain=explain)

    skipped = dataset.skipped
    return replace(
        dataset,
        name=name if dataset.name == here else dataset.name,
        train=kept(dataset.train),
        validation=kept(dataset.validation),
        test=kept(dataset.test),
        skipped=skipped and replace(skipped, first=copy.renamed(skipped.first, name)),
    )


def _explained(copy: Fetched, name: str, explain: Explain) -> str | None:
    """What `explain` says or raises, of `name` instead of the copy."""
    with copy.called(name):
        said = explain()
    return said and copy.renamed(said, name)


def _open_held(copy: Fetched, open_files: Callable[[], tf.data.Dataset]) -> tf.data.Dataset:
    """Opens the files of `copy`, which whoever holds this function holds, too."""
    return open_files()
