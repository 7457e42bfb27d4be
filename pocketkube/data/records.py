"""The records of TFRecord files with their places, and what is wrong with one that cannot be used."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import tensorflow as tf
from google.protobuf.message import DecodeError

from pocketkube.bounded.images import why_refused
from pocketkube.data.decoding import decoded
from pocketkube.data.reading import reason_of
from pocketkube.storage import InTurn, LocalLocation, Location

IMAGE, LABEL = "image/encoded", "image/class/label"
Size = tuple[int, int]
# The number of a record's file, and its own in that file, both from 0.
Place = tuple[int, int]


@dataclass(frozen=True)
class Records:
    """The records of some files, one file after the other.

    Attributes:
        files: The files.
        in_turn: Fetches those that are elsewhere.
        left_out: The records that are passed over.
    """

    files: Sequence[Location]
    in_turn: InTurn = field(default_factory=InTurn)
    left_out: Sequence[Place] = ()

    def open(self) -> tf.data.Dataset:
        """Opens them as tuples: the number of the file, the record's own in it, and its content."""
        records = tf.data.Dataset.range(len(self.files)).flat_map(self._of_file)
        if not self.left_out:
            return records
        files, numbers = (tf.constant(each, tf.int64) for each in zip(*self.left_out, strict=True))
        return records.filter(
            lambda file, number, _: ~tf.reduce_any((files == file) & (numbers == number))
        )

    def without(self, bad: Sequence[Place]) -> "Records":
        """The same, with some more of them passed over."""
        return replace(self, left_out=(*self.left_out, *bad))

    def sentence(self, place: Place, reason: str) -> str:
        """Where a record is, and what is wrong with it."""
        file, number = place
        return f"{self.files[file]}: record {number} {reason}."

    def first_bad(self, records: tf.data.Dataset, why: Callable[[bytes], str]) -> str | None:
        """A sentence on the first one that cannot be read, or used; None where all can.

        Args:
            records: Some of these, as `open` gives them.
            why: What is wrong with a record's content; empty where nothing is.

        Raises:
            UserError: If a file cannot be fetched.
        """
        try:
            bad = (self.sentence(place, reason) for place, reason in reasons(records, why) if reason)
            return next(bad, None)
        except tf.errors.OpError:
            return self.damage()

    def damage(self) -> str | None:
        """A sentence on the first file that cannot be read to its end; None where all can.

        Raises:
            UserError: If one cannot be fetched.
        """
        for file in self.files:
            with file.fetched() as path:
                whole = 0
                try:
                    for _ in tf.data.TFRecordDataset(str(path)):
                        whole += 1
                except tf.errors.OpError as error:
                    return f"{file}: has a record that is damaged, number {whole} ({reason_of(error)})."
        return None

    def _of_file(self, file: tf.Tensor) -> tf.data.Dataset:
        if all(isinstance(each, LocalLocation) for each in self.files):
            path = tf.gather(tf.constant([str(each) for each in self.files]), file)
        else:
            path = tf.ensure_shape(tf.numpy_function(self._fetch, [file], tf.string), ())
        records = tf.data.TFRecordDataset(path).enumerate()
        return records.map(lambda number, content: (file, number, content))

    def _fetch(self, file: int) -> bytes:
        return str(self.in_turn.fetch(self.files[file], self.files[file + 1 :])).encode()


def reasons(records: tf.data.Dataset, why: Callable[[bytes], str]) -> Iterator[tuple[Place, str]]:
    """The place of each record and what is wrong with it; nothing is, where that is empty.

    Args:
        records: As `Records.open` gives them.
        why: Says it of a record's content.
    """

    def look(file: tf.Tensor, number: tf.Tensor, content: tf.Tensor) -> tuple:
        return file, number, tf.numpy_function(lambda c: why(c).encode(), [content], tf.string)

    looked_at = records.map(look, num_parallel_calls=tf.data.AUTOTUNE)
    for file, number, reason in looked_at.as_numpy_iterator():
        yield (int(file), int(number)), reason.decode()


def why_unusable(
    content: bytes, size: Size | None, channels: int | None, *, labels: bool = True
) -> str:
    """What is wrong with a record, as it goes on after its number; empty where nothing is.

    Args:
        content: The record.
        size: Height and width that its image has to have; None for any.
        channels: How many its image is decoded to; None for what its own asks for.
        labels: Whether its label is used.
    """
    if why := why_no_example(content, labels=labels):
        return why
    try:
        found = shape_of(content)[:2] if channels is None else image_of(content, channels).shape[:2]
    except tf.errors.OpError as error:
        if channels and _has(content, 0):
            return (
                "has an image of a format that is only decoded to three channels, and the first "
                "image has one: store it as PNG"
            )
        return f"has an image that is broken and cannot be decoded ({reason_of(error)})"
    found = tuple(found)
    if size is None or found == size:
        return ""
    return (
        f"has an image of {found[0]} x {found[1]} pixels, others of {size[0]} x {size[1]}: set the "
        "dataset's image_size"
    )


def why_no_example(content: bytes, *, labels: bool = True) -> str:
    """What is wrong with a record before its image is decoded; see `why_unusable`."""
    try:
        features = features_of(content)
    except DecodeError:
        return "is no tf.train.Example"
    looked_at = ((IMAGE, "bytes_list", True), (LABEL, "int64_list", False))
    for name, kind, needed in looked_at if labels else looked_at[:1]:
        if name not in features:
            if needed:
                return f"has no {name}"
            continue
        feature = features[name]
        if feature.WhichOneof("kind") != kind or len(getattr(feature, kind).value) != 1:
            return f"needs one {'image' if needed else 'whole number'} as its {name}"
    (image,) = features[IMAGE].bytes_list.value
    if why := why_refused(image):
        return f"has an image that is not decoded: {why}"
    return ""


def features_of(content: bytes) -> dict[str, tf.train.Feature]:
    """The features of a record by their names.

    Raises:
        DecodeError: If it is no tf.train.Example.
    """
    return dict(tf.train.Example.FromString(content).features.feature)


def shape_of(content: bytes) -> tuple[int, int, int]:
    """The shape of a record's image as models take it: with one channel where it is grey, else three.

    Raises:
        OpError: If it is broken.
    """
    height, width, stored = image_of(content, 0).shape
    return height, width, 1 if stored == 1 and _has(content, 1) else 3


def _has(content: bytes, channels: int) -> bool:
    """Whether an image can be decoded to so many channels: no BMP or GIF can to one."""
    try:
        image_of(content, channels)
    except tf.errors.OpError:
        return False
    return True


def image_of(content: bytes, channels: int) -> tf.Tensor:
    """The pixels of a record's image, `[height, width, channels]`.

    Args:
        content: The record.
        channels: How many; 0 for as many as are stored.

    Raises:
        OpError: If it is broken, or its format cannot be decoded to so many channels.
    """
    (image,) = features_of(content)[IMAGE].bytes_list.value
    with tf.device("CPU:0"):
        return decoded(image, channels)
