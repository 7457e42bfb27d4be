"""TFRecords in ImageNet's layout: image/encoded and image/class/label, read as a stream."""

import glob
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tensorflow as tf

from pocketkube.data.dataset import Dataset, Examples, Labels
from pocketkube.data.image_folder import in_form
from pocketkube.errors import UserError
from pocketkube.spec.sections import DatasetSettings

_FEATURES = {
    "image/encoded": tf.io.FixedLenFeature([], tf.string),
    "image/class/label": tf.io.FixedLenFeature([], tf.int64),
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


def load(pattern: Path, settings: DatasetSettings) -> Dataset:
    """Opens the records that `pattern` matches; one pass over them counts them.

    Files with "validation" (or "val") or "test" in their names are that split; all others are for
    training. A split without files of its own is held out of these by a hash of each record, so
    that equal records always fall into the same split.

    Raises:
        UserError: If no file matches, a record is damaged or lacks a feature, a label is negative,
            or a split stays empty.
    """
    names = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207
    if not names:
        raise UserError(f"{pattern}: no file matches; give a pattern such as data/train-*.")
    files: dict[_Part, list[str]] = {part: [] for part in _PARTS}
    for name in names:
        files[_part_of(name)].append(name)
    if not files["train"]:
        raise UserError(f"{pattern}: matches only validation or test files, none to train on.")
    streams = {part: _records(files, part, settings) for part in _PARTS}
    found = _count(files, streams)
    if found.lowest_label < 0:
        raise UserError(f"{pattern}: labels must be 0 or more. Received: {found.lowest_label}.")
    if found.lowest_label == found.highest_label:
        raise UserError(f"{pattern}: all examples are of one class; it takes two to tell apart.")
    for part, count in found.counts.items():
        if not count:
            raise UserError(f"{pattern}: too few records; none are left for the {part} set.")
    labels = (Labels(found.highest_label + 1, shape=()),)
    shape = _shape(pattern, streams["train"](), settings)
    splits = [_examples(streams[part], found.counts[part], shape, settings, labels) for part in _PARTS]
    return Dataset(str(pattern), (shape,), labels, *splits)


def _part_of(name: str) -> _Part:
    words = re.split(r"[^a-z]+", Path(name).name.lower())
    if "test" in words:
        return "test"
    return "validation" if {"val", "validation"} & set(words) else "train"


def _records(
    files: dict[_Part, list[str]], part: _Part, settings: DatasetSettings
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
            return tf.data.TFRecordDataset(files[part])
        records = tf.data.TFRecordDataset(files["train"])
        if part == "test":
            return records.filter(lambda record: bucket(record) < test_ends)
        records = records.filter(lambda record: bucket(record) >= test_ends)
        if settings.max_train is not None:
            records = records.take(settings.max_train)
        if part == "validation":
            return records.filter(lambda record: bucket(record) < validation_ends)
        return records.filter(lambda record: bucket(record) >= validation_ends)

    return open_records


def _count(
    files: dict[_Part, list[str]], streams: dict[_Part, Callable[[], tf.data.Dataset]]
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
            raise UserError(
                f"{where}: has a record that is damaged or lacks image/encoded or image/class/label."
            ) from error
    return _Found(counts, max(highest, default=0), min(lowest, default=0))


def _damaged(names: list[str]) -> str:
    """The first file that cannot be read to its end."""
    for name in names:
        try:
            for records in tf.data.TFRecordDataset(name).batch(_READ_AT_ONCE):
                tf.io.parse_example(records, _FEATURES)
        except tf.errors.OpError:
            return name
    return names[0]


def _shape(pattern: Path, records: tf.data.Dataset, settings: DatasetSettings) -> tuple[int, int, int]:
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
        return (image,), (tf.cast(features["image/class/label"], tf.int32),)

    def open_images() -> tf.data.Dataset:
        return stream().map(decode, num_parallel_calls=tf.data.AUTOTUNE)

    return Examples(size, open_images, None, labels)
