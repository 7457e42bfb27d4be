"""TFRecords in ImageNet's layout: image/encoded and perhaps image/class/label, read as a stream."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from os.path import commonpath
from pathlib import PurePosixPath

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from pocketkube.bounded.images import why_refused
from pocketkube.data.dataset import Dataset, Examples, Labels, Skipped, skipped_of
from pocketkube.data.decoding import Form, Window, image_in
from pocketkube.data.reading import read
from pocketkube.data.records import (
    IMAGE,
    LABEL,
    Place,
    Records,
    features_of,
    reasons,
    shape_of,
    why_no_example,
    why_unusable,
)
from pocketkube.data.splits import Split, split_called, split_of_folder
from pocketkube.errors import UserError
from pocketkube.spec.sections import DatasetSettings
from pocketkube.storage import InTurn, Location

# Of a record without a label.
_UNKNOWN = tf.int64.min
_IMAGE_ALONE = {IMAGE: tf.io.FixedLenFeature([], tf.string)}
_FEATURES = {**_IMAGE_ALONE, LABEL: tf.io.FixedLenFeature([], tf.int64, default_value=_UNKNOWN)}
# What records in ImageNet's layout tell of an image beside its label.
_OF_THE_IMAGE = re.compile(
    "image/(encoded|height|width|channels|colorspace|format|filename|source_id|key/.*)"
)
_BUCKETS = 1 << 16
_READ_AT_ONCE = 256
# So many first images say whether there are colours.
_LOOKED_AT = 64
# How many records, and bytes of them, are in memory to be shuffled.
_SHUFFLED, _SHUFFLED_BYTES = 8192, 1 << 29
_PARTS: tuple[Split, ...] = ("train", "validation", "test")
# The first of these words that a file's name has says which split it is of.
_WORDS = ("test", "validation", "val", "train", "training")
# And then these, unless all files have them: they say other things, too, as dev does of a product.
_MORE_WORDS = ("testing", "valid", "dev")


@dataclass(frozen=True)
class _Split:
    """The records of a split.

    Attributes:
        records: All of the files that it is in.
        open: Opens its own of them.
    """

    records: Records
    open: Callable[[], tf.data.Dataset]

    def explain(self, why: Callable[[bytes], str]) -> str | None:
        """See `Examples.explain`.

        Args:
            why: What is wrong with a record; empty where nothing is.
        """
        return self.records.first_bad(self.open(), why)


@dataclass(frozen=True)
class _Extent:
    """How much a split is."""

    count: int
    size_bytes: int

    @property
    def shuffled_among(self) -> int:
        """How many of its records are shuffled among each other: fewer where they are large."""
        return max(1, min(_SHUFFLED, _SHUFFLED_BYTES * self.count // max(1, self.size_bytes)))


@dataclass(frozen=True)
class _Found:
    """What one pass over all records told."""

    extents: dict[Split, _Extent]
    highest_label: int
    lowest_label: int


def load(pattern: Location, settings: DatasetSettings) -> Dataset:
    """Opens the records that `pattern` matches; one pass over them counts them.

    Files with a word such as "validation", "val" or "test" in their names are that split, others what
    their folders are called (see `_by_split`); all that are left are for training. A split without
    files of its own is held out of these by a hash of each record, so that equal records always fall
    into the same split. Files elsewhere are brought here one by one, when their turn comes or shortly
    before, so that all of them together may be larger than the cache of downloads.

    Where bad records are skipped, a pass before that decodes all images: the splits are of those that
    can be used, and so are the same examples in the same order wherever they are opened.

    Raises:
        UserError: If no file matches, a record is damaged or lacks a feature, a label is negative,
            or a split stays empty.
    """
    found_files = pattern.matches()
    if not found_files:
        raise UserError(f"{pattern}: no file matches; give a pattern such as data/train-*.")
    files = _by_split(found_files)
    if not files["train"]:
        raise UserError(
            f"{pattern}: matches only validation or test files, none to train on; let it match "
            "such, too, as are called train-0 or lie in a folder train."
        )
    in_turn = InTurn()
    records = {part: Records(those, in_turn) for part, those in files.items() if those}
    skipped = None
    if settings.on_bad_example == "skip":
        records, skipped = _without_bad(pattern, records, settings)
    splits = {part: _split(records, part, settings) for part in _PARTS}
    found = _count(splits, settings.labels)
    for part, extent in found.extents.items():
        if not extent.count:
            raise UserError(f"{pattern}: too few records; none are left for the {part} set.")
    _, _, first = next(records["train"].open().as_numpy_iterator())
    are_labelled = settings.labels and found.highest_label != _UNKNOWN
    if settings.labels and not are_labelled:
        _refuse_labels_of_another_name(pattern, first)
    if are_labelled and found.lowest_label == _UNKNOWN:
        raise UserError(
            f"{pattern}: some records have an image/class/label and others none; give all one, or say "
            "dataset.labels: false."
        )
    first_label = settings.first_label
    if are_labelled and found.lowest_label < first_label:
        raise UserError(
            f"{pattern}: labels must be {first_label} or more. Received: {found.lowest_label}."
        )
    if are_labelled and found.lowest_label == found.highest_label:
        raise UserError(f"{pattern}: all examples are of one class; it takes two to tell apart.")
    whole = found.lowest_label - first_label, found.highest_label - first_label
    labels = (Labels(1 + whole[1], shape=(), whole=whole),) if are_labelled else ()
    shape = _shape(records["train"], first, settings)
    examples = [
        _examples(split, found.extents[part], shape, settings, labels) for part, split in splits.items()
    ]
    return Dataset(str(pattern), (shape,), labels, *examples, skipped=skipped)


def _without_bad(
    pattern: Location, records: Mapping[Split, Records], settings: DatasetSettings
) -> tuple[dict[Split, Records], Skipped | None]:
    """The records that can be used, and what is left out.

    The first image that can be decoded says how many channels all have, and the size of all where
    `image_size` does not.
    """
    shape: tuple[int, int, int] | None = None
    total, sentences, good = 0, list[str](), dict[Split, Records]()
    for part, those in records.items():
        shape = shape or _shape_of_first(those, settings.labels)
        size = shape[:2] if shape and settings.image_size is None else None
        why = partial(why_unusable, size=size, channels=shape and shape[2], labels=settings.labels)
        bad: list[Place] = []
        looked_at = reasons(those.open(), why)
        for place, reason in read(looked_at, those.damage):
            total += 1
            if reason:
                bad.append(place)
                sentences.append(those.sentence(place, reason))
        good[part] = those.without(bad)
    return good, skipped_of(str(pattern), sentences, total)


def _shape_of_first(records: Records, labels: bool) -> tuple[int, int, int] | None:
    """The shape of the first image that can be decoded."""
    for _, _, content in read(records.open().as_numpy_iterator(), records.damage):
        if not why_unusable(content, None, None, labels=labels):
            return shape_of(content)
    return None


def _by_split(files: Sequence[Location]) -> dict[Split, list[Location]]:
    """The files of each split, by the words in the name of each, or else by those of its folders."""
    by_folders = _told_by_folders(files)
    told = _told_by_names(files, (*_WORDS, *_MORE_WORDS), by_folders)
    if "train" not in told:
        told = _told_by_names(files, _WORDS, by_folders)
    return {
        part: [file for file, its in zip(files, told, strict=True) if its == part] for part in _PARTS
    }


def _told_by_names(
    files: Sequence[Location], words: Sequence[str], otherwise: Sequence[Split | None]
) -> list[Split]:
    told = (_told(file.name, words) for file in files)
    return [its or other or "train" for its, other in zip(told, otherwise, strict=True)]


def _told(name: str, words: Sequence[str]) -> Split | None:
    has = re.split(r"[^a-z]+", name.lower())
    return next((split for word in words if word in has and (split := split_called(word))), None)


def _told_by_folders(files: Sequence[Location]) -> list[Split | None]:
    """The split that a folder of each file is called, below the folder that they are all in.

    One that all of them are in says as little as that folder, as of `subjects/*/test/*`.
    """
    folders = [PurePosixPath(str(file)).parent for file in files]
    known = len(PurePosixPath(commonpath(folders)).parts)
    splits = [map(split_of_folder, folder.parts[known:]) for folder in folders]
    told: list[Split | None] = [next(filter(None, of_each), None) for of_each in splits]
    return told if len({*told}) > 1 else [None for _ in files]


def _split(records: Mapping[Split, Records], part: Split, settings: DatasetSettings) -> _Split:
    """The records of a split: of its own files, or held out of those to train on."""
    if part != "train" and part in records:
        return _Split(records[part], records[part].open)
    files = records["train"]
    test = 0.0 if "test" in records else settings.test_fraction
    validation = 0.0 if "validation" in records else settings.validation_fraction
    test_ends = round(test * _BUCKETS)
    validation_ends = test_ends + round((1.0 - test) * validation * _BUCKETS)

    def bucket(content: tf.Tensor) -> tf.Tensor:
        return tf.strings.to_hash_bucket_fast(content, _BUCKETS)

    def open_records() -> tf.data.Dataset:
        found = files.open()
        if part == "test":
            return found.filter(lambda file, number, content: bucket(content) < test_ends)
        found = found.filter(lambda file, number, content: bucket(content) >= test_ends)
        if settings.max_train is not None:
            found = found.take(settings.max_train)
        if part == "validation":
            return found.filter(lambda file, number, content: bucket(content) < validation_ends)
        return found.filter(lambda file, number, content: bucket(content) >= validation_ends)

    return _Split(files, open_records)


def _count(splits: Mapping[Split, _Split], labels: bool) -> _Found:
    extents: dict[Split, _Extent] = {}
    lowest, highest = [], []
    for part, split in splits.items():
        count = size_bytes = 0
        contents = split.open().map(lambda file, number, content: content).batch(_READ_AT_ONCE)
        told = contents.map(lambda many: (_labels_of(many, labels), tf.strings.length(many)))
        explain = partial(split.explain, partial(why_no_example, labels=labels))
        for found, lengths in read(told.as_numpy_iterator(), explain):
            count += len(found)
            size_bytes += int(lengths.sum(dtype=np.int64))
            lowest.append(int(found.min()))
            highest.append(int(found.max()))
        extents[part] = _Extent(count, size_bytes)
    return _Found(extents, max(highest, default=0), min(lowest, default=0))


def _labels_of(contents: tf.Tensor, labels: bool) -> tf.Tensor:
    """The labels of some records, if they are used; an error where an image is not to be decoded."""
    features = tf.io.parse_example(contents, _FEATURES if labels else _IMAGE_ALONE)
    refused = tf.numpy_function(
        lambda images: any(map(why_refused, images)), [features[IMAGE]], tf.bool
    )
    tf.debugging.assert_equal(refused, False)
    return features[LABEL] if labels else tf.fill(tf.shape(contents), _UNKNOWN)


def _refuse_labels_of_another_name(pattern: Location, content: bytes) -> None:
    """Says when records without an image/class/label have something that may be one."""
    others = sorted(name for name in features_of(content) if not _OF_THE_IMAGE.fullmatch(name))
    if others:
        raise UserError(
            f"{pattern}: records have no {LABEL}, but {', '.join(others)}: call the labels {LABEL}, or "
            "say dataset.labels: false if there are none."
        )


def _shape(records: Records, content: bytes, settings: DatasetSettings) -> tuple[int, int, int]:
    """The first image's size, or `image_size`, and how many channels the first images have at most."""
    explain = partial(
        _Split(records, records.open).explain,
        partial(why_unusable, size=None, channels=None, labels=settings.labels),
    )
    ((height, width, channels),) = read(map(shape_of, [content]), explain)
    channels = channels if channels == 3 else _most_channels(records)
    return *(settings.image_size or (height, width)), channels


def _most_channels(records: Records) -> int:
    """Three where any of the first images has three: a grey one at the beginning loses no colours."""
    for _, _, content in records.open().take(_LOOKED_AT).as_numpy_iterator():
        # Who reads it for training says what is wrong with it.
        with suppress(tf.errors.OpError, DecodeError):
            if shape_of(content)[2] == 3:
                return 3
    return 1


def _examples(
    split: _Split,
    extent: _Extent,
    shape: tuple[int, int, int],
    settings: DatasetSettings,
    labels: tuple[Labels, ...],
) -> Examples:
    height, width, channels = shape

    form = Form((height, width), channels, settings.value_range, settings.central_crop)
    size = None if settings.image_size else form.size

    def decode(
        file: tf.Tensor, number: tf.Tensor, content: tf.Tensor, *, window: Window | None = None
    ) -> tuple:
        features = tf.io.parse_single_example(content, _FEATURES if labels else _IMAGE_ALONE)
        image = tf.ensure_shape(image_in(features[IMAGE], form, window, needed_size=size), shape)
        if not labels:
            return (image,), ()
        return (image,), (tf.cast(features[LABEL] - settings.first_label, tf.int32),)

    def explain() -> str | None:
        why = partial(why_unusable, size=size, channels=channels, labels=bool(labels))
        return split.explain(why)

    return Examples(
        extent.count,
        split.open,
        None,
        labels,
        decode=decode,
        decodes_windows=True,
        explain=explain,
        shuffled_among=extent.shuffled_among,
    )
