"""TFRecords in ImageNet's layout: image/encoded and perhaps image/class/label, read as a stream."""

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from pocketkube.data.dataset import Dataset, Examples, Labels
from pocketkube.data.image_folder import in_form
from pocketkube.errors import UserError
from pocketkube.spec.sections import DatasetSettings
from pocketkube.storage import Fetched, LocalLocation, Location, patiently

# Of a record without a label.
_UNKNOWN = tf.int64.min
_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64, default_value=_UNKNOWN),
}
_BUCKETS = 1 << 16
_READ_AT_ONCE = 256
_Part = Literal["train", "validation", "test"]
_PARTS: tuple[_Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class _Found:
    """What one pass over all records told."""

    counts: dict[_Part, int]
    highest_label: int
    lowest_label: int


def load(pattern: Location, settings: DatasetSettings) -> Dataset:
    """Opens the records that `pattern` matches; one pass over them counts them.

    Files with "validation" (or "val") or "test" in their names are that split; all others are for
    training. A split without files of its own is held out of these by a hash of each record, so
    that equal records always fall into the same split. Files elsewhere are brought here one by one,
    when their turn comes, so that all of them together may be larger than the cache of downloads.

    Raises:
        UserError: If no file matches, a record is damaged or lacks a feature, a label is negative,
            or a split stays empty.
    """
    found_files = pattern.matches()
    if not found_files:
        raise UserError(f"{pattern}: no file matches; give a pattern such as data/train-*.")
    files: dict[_Part, list[Location]] = {part: [] for part in _PARTS}
    for file in found_files:
        files[_part_of(file.name)].append(file)
    if not files["train"]:
        raise UserError(f"{pattern}: matches only validation or test files, none to train on.")
    held: deque[Fetched] = deque(maxlen=1)
    streams = {part: _records(files, part, settings, held) for part in _PARTS}
    found = _count(files, streams)
    are_labelled = settings.labels and found.highest_label != _UNKNOWN
    if are_labelled and found.lowest_label == _UNKNOWN:
        raise UserError(
            f"{pattern}: some records have an image/class/label and others none; give all one, or say "
            "dataset.labels: false."
        )
    if are_labelled and found.lowest_label < 0:
        raise UserError(f"{pattern}: labels must be 0 or more. Received: {found.lowest_label}.")
    if are_labelled and found.lowest_label == found.highest_label:
        raise UserError(f"{pattern}: all examples are of one class; it takes two to tell apart.")
    for part, count in found.counts.items():
        if not count:
            raise UserError(f"{pattern}: too few records; none are left for the {part} set.")
    whole = found.lowest_label, found.highest_label
    labels = (Labels(1 + found.highest_label, shape=(), whole=whole),) if are_labelled else ()
    shape = _shape(pattern, streams["train"](), settings)
    splits = [_examples(streams[part], found.counts[part], shape, settings, labels) for part in _PARTS]
    return Dataset(str(pattern), (shape,), labels, *splits)


def _part_of(name: str) -> _Part:
    words = re.split(r"[^a-z]+", name.lower())
    if "test" in words:
        return "test"
    return "validation" if {"val", "validation"} & set(words) else "train"


def _records(
    files: dict[_Part, list[Location]], part: _Part, settings: DatasetSettings, held: deque[Fetched]
) -> Callable[[], tf.data.Dataset]:
    """Opens the serialized records of a split."""
    test = 0.0 if files["test"] else settings.test_fraction
    validation = 0.0 if files["validation"] else settings.validation_fraction
    test_ends = round(test * _BUCKETS)
    validation_ends = test_ends + round((1.0 - test) * validation * _BUCKETS)

    def bucket(record: tf.Tensor) -> tf.Tensor:
        return tf.strings.to_hash_bucket_fast(record, _BUCKETS)

    def open_records() -> tf.data.Dataset:
        if files[part] and part != "train":
            return _opened(files[part], held)
        records = _opened(files["train"], held)
        if part == "test":
            return records.filter(lambda record: bucket(record) < test_ends)
        records = records.filter(lambda record: bucket(record) >= test_ends)
        if settings.max_train is not None:
            records = records.take(settings.max_train)
        if part == "validation":
            return records.filter(lambda record: bucket(record) < validation_ends)
        return records.filter(lambda record: bucket(record) >= validation_ends)

    return open_records


def _opened(files: Sequence[Location], held: deque[Fetched]) -> tf.data.Dataset:
    """The records of files, one file after the other.

    Files elsewhere are fetched when their turn comes. What was fetched last stays in `held`; the files
    before were opened, and can be read to their ends wherever they are gone.
    """
    if all(isinstance(file, LocalLocation) for file in files):
        return tf.data.TFRecordDataset([str(file) for file in files])

    def fetch(number: int) -> bytes:
        held.append(patiently("fetch", files[number].fetch))
        return str(held[-1].path).encode()

    def records(number: tf.Tensor) -> tf.data.Dataset:
        path = tf.numpy_function(fetch, [number], tf.string)
        return tf.data.TFRecordDataset(tf.ensure_shape(path, ()))

    return tf.data.Dataset.range(len(files)).flat_map(records)


def _count(
    files: dict[_Part, list[Location]], streams: dict[_Part, Callable[[], tf.data.Dataset]]
) -> _Found:
    counts: dict[_Part, int] = {}
    lowest, highest = [], []
    for part, stream in streams.items():
        counts[part] = 0
        try:
            for records in stream().batch(_READ_AT_ONCE):
                labels = tf.io.parse_example(records, _FEATURES)["image/class/label"].numpy()
                counts[part] += len(labels)
                lowest.append(int(labels.min()))
                highest.append(int(labels.max()))
        except tf.errors.OpError as error:
            where = _damaged(files[part] or files["train"])
            raise UserError(f"{where}: has a record that is damaged or lacks image/encoded.") from error
    return _Found(counts, max(highest, default=0), min(lowest, default=0))


def _damaged(files: Sequence[Location]) -> Location:
    """The first file that cannot be read to its end.

    Raises:
        UserError: If one cannot be fetched.
    """
    for file in files:
        with file.fetched() as path:
            try:
                for records in tf.data.TFRecordDataset(str(path)).batch(_READ_AT_ONCE):
                    tf.io.parse_example(records, _FEATURES)
            except tf.errors.OpError:
                return file
    return files[0]


def _shape(
    pattern: Location, records: tf.data.Dataset, settings: DatasetSettings
) -> tuple[int, int, int]:
    """The first image's shape, at `image_size` where it is given."""
    first = tf.io.parse_single_example(next(iter(records)), _FEATURES)
    try:
        image = tf.io.decode_image(first["image/encoded"], expand_animations=False)
    except tf.errors.OpError as error:
        raise UserError(f"{pattern}: the first image is broken and cannot be decoded.") from error
    height, width = settings.image_size or image.shape[:2]
    return height, width, 1 if image.shape[2] == 1 else 3


def _examples(
    stream: Callable[[], tf.data.Dataset],
    size: int,
    shape: tuple[int, int, int],
    settings: DatasetSettings,
    labels: tuple[Labels, ...],
) -> Examples:
    def decode(record: tf.Tensor) -> tuple:
        features = tf.io.parse_single_example(record, _FEATURES)
        image = tf.io.decode_image(
            features["image/encoded"], channels=shape[2], expand_animations=False
        )
        if settings.image_size is None:
            tf.debugging.assert_equal(
                tf.shape(image), shape, "images differ in size: set the dataset's image_size"
            )
        image.set_shape((None, None, shape[2]))
        image = tf.ensure_shape(in_form(image, shape[:2], settings.value_range), shape)
        return (image,), (tf.cast(features["image/class/label"], tf.int32),) if labels else ()

    def open_images() -> tf.data.Dataset:
        return stream().map(decode, num_parallel_calls=tf.data.AUTOTUNE)

    return Examples(size, open_images, None, labels)
