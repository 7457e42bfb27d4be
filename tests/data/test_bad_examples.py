"""Bad examples in sources that are read as they come: named with file and reason, or skipped."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pocketkube.data import Dataset, Examples, load_dataset
from pocketkube.data.batches import batches, materialize
from pocketkube.data.records import why_unusable
from pocketkube.errors import DataError, UserError
from pocketkube.spec.sections import Augmentation, DatasetSettings
from tests.fuzzing import fuzzed

COUNT, AT = 60, 25


def png(value: int, size: int = 4) -> bytes:
    return tf.io.encode_png(np.full((size, size, 3), value, np.uint8)).numpy()


def record(
    image: bytes | None, label: int | Sequence[int] = 0, name: str = "image/class/label"
) -> bytes:
    labels = [label] if isinstance(label, int) else label
    feature = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=labels))}
    if image is not None:
        feature["image/encoded"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def write(path: Path, contents: Sequence[bytes]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(content)


def good() -> list[bytes]:
    return [record(png(value), value % 3) for value in range(COUNT)]


def bad() -> dict[str, tuple[bytes, str]]:
    """Contents of records, and what is said of them."""
    return {
        "nonsense": (record(b"nonsense"), "has an image that is broken and cannot be decoded (Unknown"),
        "cut": (record(png(7)[:-40]), "has an image that is broken and cannot be decoded ("),
        "empty": (record(b""), "has an image that is broken and cannot be decoded (Input is empty)"),
        "size": (record(png(7, 5)), "has an image of 5 x 5 pixels, others of 4 x 4: set the dataset's"),
        "no example": (b"no example at all", "is no tf.train.Example."),
        "no image": (record(None), "has no image/encoded."),
        "labels": (record(png(7), [1, 2]), "needs one whole number as its image/class/label."),
    }


def load(pattern: Path, **settings) -> Dataset:
    return load_dataset(DatasetSettings(tfrecord=str(pattern), value_range=(0.0, 255.0), **settings))


def splits(dataset: Dataset) -> tuple[Examples, ...]:
    return dataset.train, dataset.validation, dataset.test


def epoch_of(settings: DatasetSettings) -> None:
    """Reads all splits as training does."""
    for split in splits(load_dataset(settings)):
        list(batches(split, 8, epoch_seed=(0, 0)))


def arrays_of(settings: DatasetSettings) -> None:
    """Reads all splits into memory."""
    for split in splits(load_dataset(settings)):
        materialize(split, None, 0)


@pytest.mark.parametrize("read", [epoch_of, arrays_of])
@pytest.mark.parametrize("kind", list(bad()))
def test_a_record_that_cannot_be_used_is_named_with_its_file_and_the_reason(
    tmp_path: Path, kind: str, read: Callable[[DatasetSettings], None]
) -> None:
    content, reason = bad()[kind]
    write(tmp_path / "a-0", good())
    write(tmp_path / "a-1", [*good()[:AT], content, *good()[AT:]])
    with pytest.raises(DataError) as refused:
        read(DatasetSettings(tfrecord=str(tmp_path / "a-*")))
    assert str(refused.value).startswith(f"{tmp_path}/a-1: record {AT} {reason}")
    assert len(str(refused.value).splitlines()) == 1


def test_a_grey_image_at_the_beginning_does_not_make_all_others_grey(tmp_path: Path) -> None:
    grey, colour = (
        [tf.io.encode_png(np.full((8, 8, channels), value, np.uint8)).numpy() for value in range(COUNT)]
        for channels in (1, 3)
    )
    for images, channels in ((grey, 1), ([grey[0], *colour[1:]], 3)):
        file = tmp_path / f"{channels}.tfrecord"
        write(file, [record(image, number % 2) for number, image in enumerate(images)])
        found = load_dataset(DatasetSettings(tfrecord=str(file)))
        assert found.input_shapes == ((8, 8, channels),)


def test_skipped_records_leave_the_data_set_that_there_would_be_without_them(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    write(tmp_path / "clean" / "a-0", good())
    write(tmp_path / "clean" / "validation-0", good()[::3])
    spoilt = [content for content, _ in bad().values()]
    write(tmp_path / "a-0", [*spoilt[:3], *good()[:AT], *spoilt[3:], *good()[AT:]])
    write(tmp_path / "validation-0", [spoilt[0], *good()[::3]])
    clean = load(tmp_path / "clean" / "*-0")
    left = load(tmp_path / "*-0", on_bad_example="skip")
    assert clean.skipped is None
    assert left.skipped is not None
    assert (left.skipped.count, left.skipped.total) == (8, 8 + COUNT + COUNT // 3)
    assert left.skipped.first.startswith(f"{tmp_path}/a-0: record 0 has an image that is broken")
    (sentence,) = left.left_out
    assert sentence.startswith(
        f"8 of {8 + COUNT + COUNT // 3} examples of {tmp_path}/*-0 cannot be used"
    )
    assert [split.size for split in splits(left)] == [split.size for split in splits(clean)]
    # As training reads them: in an order by the epoch, each rank its rows, from a place on.
    served = partial(
        batches,
        batch_size=8,
        epoch_seed=(3, 1),
        augmentation=Augmentation(flip=True, mixup=0.4),
        ranks=2,
        drop_remainder=True,
    )
    for rank in (0, 1):
        for skip in (0, 2):
            ours, theirs = (
                list(served(examples=data.train, rank=rank, skip=skip)) for data in (left, clean)
            )
            assert len(ours) == len(theirs) == left.train.size // 8 - skip
            for (x, y), (other_x, other_y) in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(x[0], other_x[0])
                np.testing.assert_array_equal(y[0], other_y[0])
    for split, other in zip(splits(left), splits(clean), strict=True):
        np.testing.assert_array_equal(materialize(split, None, 0)[0], materialize(other, None, 0)[0])


def encoded(form: str, mode: str, value: int) -> bytes:
    """An image as Pillow writes it."""
    pixels, file = np.full((4, 4, 3), value, np.uint8), io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("form", ["GIF", "BMP"])
def test_an_image_that_cannot_have_the_channels_of_the_others_is_a_bad_example(
    tmp_path: Path, form: str
) -> None:
    # It is not among the first, which say how many channels there are.
    at = 70
    items = [record(encoded("PNG", "L", value), value % 3) for value in range(at)]
    write(tmp_path / "a", [*items, record(encoded(form, "RGB", 7)), *items[:10]])
    with pytest.raises(DataError, match=rf"a: record {at} has an image of a format that"):
        epoch_of(DatasetSettings(tfrecord=str(tmp_path / "a")))
    left = load(tmp_path / "a", on_bad_example="skip")
    assert left.skipped is not None
    assert left.skipped.count == 1
    assert left.input_shapes == ((4, 4, 1),)
    arrays_of(DatasetSettings(tfrecord=str(tmp_path / "a"), on_bad_example="skip"))


def test_an_image_of_more_pixels_than_are_decoded_is_told_before_any_is(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("1", (14000, 14000)).save(file, "PNG")
    write(tmp_path / "a", [*good()[:AT], record(file.getvalue()), *good()[AT:]])
    said = rf"a: record {AT} has an image that is not decoded: it has 14000 x 14000 pixels"
    with pytest.raises(DataError, match=said):
        load(tmp_path / "a", image_size=(4, 4))
    left = load(tmp_path / "a", image_size=(4, 4), on_bad_example="skip")
    assert left.skipped is not None
    assert left.skipped.count == 1


def test_a_first_image_that_is_not_decoded_to_one_channel_asks_for_three(tmp_path: Path) -> None:
    items = [record(encoded("PNG", "L", value), value % 3) for value in range(COUNT)]
    write(tmp_path / "a", [record(encoded("BMP", "L", 7)), *items])
    for choice in ("fail", "skip"):
        whole = load(tmp_path / "a", on_bad_example=choice)
        assert whole.skipped is None
        assert whole.input_shapes == ((4, 4, 3),)
    arrays_of(DatasetSettings(tfrecord=str(tmp_path / "a")))


def test_a_file_that_is_cut_short_is_never_skipped(tmp_path: Path) -> None:
    write(tmp_path / "a-0", good())
    write(tmp_path / "a-1", good())
    (tmp_path / "a-1").write_bytes((tmp_path / "a-1").read_bytes()[:-7])
    for choice in ("fail", "skip"):
        with pytest.raises(DataError, match=rf"a-1: has a record that is damaged, number {COUNT - 1} "):
            load(tmp_path / "a-*", on_bad_example=choice)


def test_more_than_half_is_too_many_to_be_skipped(tmp_path: Path) -> None:
    write(tmp_path / "a", [record(png(1)), *(record(png(value, 5)) for value in range(40))])
    with pytest.raises(UserError, match=r"40 of 41 examples cannot be used, too many to be skipped"):
        load(tmp_path / "a", on_bad_example="skip")


def test_labels_of_another_name_are_not_left_out_silently(tmp_path: Path) -> None:
    write(tmp_path / "a", [record(png(value), value % 3, "label") for value in range(60)])
    with pytest.raises(UserError, match=r"records have no image/class/label, but label: call"):
        load(tmp_path / "a")
    assert load(tmp_path / "a", labels=False).labels == ()
    write(tmp_path / "a", [record(png(value), 4, "image/height") for value in range(60)])
    assert load(tmp_path / "a").labels == ()


def test_labels_of_records_that_are_left_aside_may_be_anything(tmp_path: Path) -> None:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"cat"]))
    text = tf.train.Example.FromString(record(png(8)))
    text.features.feature["image/class/label"].CopyFrom(feature)
    odd = [record(png(7), [1, 2]), text.SerializeToString(), record(png(9), -4)]
    write(tmp_path / "a", [*good(), *odd])
    for choice in ("fail", "skip"):
        left = load(tmp_path / "a", labels=False, on_bad_example=choice)
        assert left.skipped is None
        assert sum(len(materialize(split, None, 0)[0][0]) for split in splits(left)) == COUNT + 3
    with pytest.raises(
        DataError, match=rf"record {COUNT} needs one whole number as its image/class/la"
    ):
        load(tmp_path / "a")


def photos(folder: Path) -> Path:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for value in range(20):
            pixels = np.random.default_rng(value).integers(0, 255, (8, 8, 3), np.uint8)
            (folder / name / f"{value:02}.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
    return folder


@pytest.fixture(params=[0, 1 << 30], ids=["streamed", "in memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pocketkube.data.image_folder._IN_MEMORY_BYTES", request.param)
    return photos(tmp_path / "photos")


def test_a_broken_image_of_a_folder_is_named_however_large_the_folder_is(folder: Path) -> None:
    broken = folder / "cat" / "07.jpg"
    broken.write_bytes(broken.read_bytes()[:-60])
    with pytest.raises(DataError) as refused:
        epoch_of(DatasetSettings(image_folder=str(folder)))
    assert str(refused.value) == f"{broken}: the image is broken and cannot be decoded."


def test_broken_images_of_a_folder_are_skipped(folder: Path) -> None:
    settings = DatasetSettings(image_folder=str(folder), on_bad_example="skip")
    for name, content in (("cat/07", b"nonsense"), ("dog/08", png(1, 9)), ("dog/09", b"")):
        (folder / f"{name}.jpg").write_bytes(content)
    cut = folder / "cat" / "00.jpg"
    cut.write_bytes(cut.read_bytes()[:-60])
    left = load_dataset(settings)
    assert left.skipped is not None
    assert (left.skipped.count, left.skipped.total) == (4, 40)
    assert left.skipped.first == f"{cut}: the image is broken and cannot be decoded."
    for name in ("cat/07", "dog/08", "dog/09", "cat/00"):
        (folder / f"{name}.jpg").unlink()
    clean = load_dataset(settings)
    assert clean.skipped is None
    for split, other in zip(splits(left), splits(clean), strict=True):
        np.testing.assert_array_equal(materialize(split, None, 0)[0], materialize(other, None, 0)[0])


def test_an_image_of_a_folder_that_cannot_have_the_channels_of_the_others_is_skipped(
    folder: Path,
) -> None:
    for file in folder.rglob("*.jpg"):
        file.write_bytes(encoded("PNG", "L", int(file.stem)))
    # In a folder of grey images one channel is asked for, which no GIF has.
    (folder / "dog" / "08.jpg").write_bytes(encoded("GIF", "1", 7))
    settings = DatasetSettings(image_folder=str(folder), on_bad_example="skip")
    left = load_dataset(settings)
    assert left.skipped is not None
    assert left.skipped.count == 1
    assert left.input_shapes == ((4, 4, 1),)
    arrays_of(settings)
    with pytest.raises(
        DataError, match=r"08.jpg: is of a format that is only decoded to three channels"
    ):
        epoch_of(DatasetSettings(image_folder=str(folder)))


@pytest.mark.parametrize("choice", ["fail", "skip"])
def test_images_of_formats_that_are_not_decoded_are_left_out_and_told_of(
    folder: Path, choice: str
) -> None:
    clean = load_dataset(DatasetSettings(image_folder=str(folder)))
    # For none of them all that reads it may be installed.
    for name in ("cat/thumb.webp", "dog/20.TIFF", "dog/21.webp", "dog/._22.webp"):
        (folder / name).write_bytes(b"RIFF\x10\0\0\0WEBPVP8 ")
    for name in ("README.txt", "Thumbs.db", "mask.pgm"):
        (folder / "dog" / name).write_bytes(b"no image")
    if choice == "skip":
        (folder / "dog" / "20.jpg").write_bytes(b"no image")
    left = load_dataset(DatasetSettings(image_folder=str(folder), on_bad_example=choice))
    count = 4 if choice == "skip" else 3
    assert left.left_out == (
        f"{count} of {40 + count} examples of {folder} cannot be used and are left out; the first: "
        f"{folder}/cat/thumb.webp: files that end in .tiff, .webp are not decoded, 3 in all: convert "
        "them to PNG or JPEG.",
    )
    for split, other in zip(splits(left), splits(clean), strict=True):
        np.testing.assert_array_equal(materialize(split, None, 0)[0], materialize(other, None, 0)[0])


@pytest.mark.parametrize("labels", [True, False])
def test_images_of_formats_that_are_not_decoded_are_told_of_where_there_are_no_others(
    tmp_path: Path, labels: bool
) -> None:
    folder = photos(tmp_path / "photos")
    for file in (folder / "dog").glob("*.jpg"):
        file.rename(file.with_suffix(".heic"))
    settings = DatasetSettings(image_folder=str(folder if labels else folder / "dog"), labels=labels)
    with pytest.raises(DataError) as refused:
        load_dataset(settings)
    assert str(refused.value) == (
        f"{folder}/dog: has no image that is decoded, but 20 that end in .heic: convert them to PNG or "
        "JPEG."
    )


@pytest.mark.parametrize(
    ("ending", "form", "mode", "channels"),
    [
        ("bmp", "BMP", "RGB", 3),
        ("bmp", "BMP", "RGBA", 3),
        ("bmp", "BMP", "L", 3),
        ("gif", "GIF", "RGB", 3),
        ("gif", "GIF", "L", 3),
        ("jfif", "JPEG", "L", 1),
    ],
)
def test_whatever_is_decoded_is_an_image_of_a_folder(
    tmp_path: Path, ending: str, form: str, mode: str, channels: int
) -> None:
    for value in range(20):
        for name, first in (("cat", 0), ("dog", 100)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{value}.{ending}").write_bytes(encoded(form, mode, first + value))
    found = load_dataset(DatasetSettings(image_folder=str(tmp_path), value_range=(0.0, 255.0)))
    values = [materialize(split, None, 0)[0][0] for split in splits(found)]
    assert {x.shape[1:] for x in values} == {(4, 4, channels)}
    seen = sorted(np.round(np.concatenate(values)[:, 0, 0, 0]).astype(int).tolist())
    assert seen == [*range(20), *range(100, 120)]


@pytest.mark.parametrize("mode", ["P", "1"])
def test_a_bmp_whose_colours_would_be_others_is_a_bad_example(tmp_path: Path, mode: str) -> None:
    """TensorFlow takes the places in a palette for shades of grey."""
    folder = photos(tmp_path / "photos")
    (folder / "dog" / "20.bmp").write_bytes(encoded("BMP", mode, 7))
    said = "it is a BMP with a palette, or of a rare kind: store it as PNG"
    with pytest.raises(DataError, match=rf"dog/20.bmp: is not a readable image: {said}"):
        load_dataset(DatasetSettings(image_folder=str(folder)))
    write(tmp_path / "a", [*good(), record(encoded("BMP", mode, 7))])
    with pytest.raises(DataError, match=rf"a: record {COUNT} has an image that is not decoded: {said}"):
        load(tmp_path / "a")


def test_a_class_of_which_no_image_can_be_used_is_not_left_out_silently(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "owl").mkdir()
    for name in ("00", "01"):
        (folder / "owl" / f"{name}.jpg").write_bytes(b"nonsense")
    said = "photos: none of the 2 training images of the class owl can be used"
    with pytest.raises(DataError, match=said):
        load_dataset(DatasetSettings(image_folder=str(folder), on_bad_example="skip"))


def test_a_file_that_is_gone_is_no_bad_example(folder: Path) -> None:
    (folder / "cat" / "03.jpg").chmod(0)
    if (folder / "cat" / "03.jpg").stat().st_uid == 0:
        (folder / "cat" / "03.jpg").unlink()
        (folder / "cat" / "03.jpg").symlink_to(folder / "cat")
    dataset = DatasetSettings(image_folder=str(folder), on_bad_example="skip")
    assert load_dataset(dataset).skipped is None


def test_what_is_read_as_a_whole_has_nothing_to_skip() -> None:
    with pytest.raises(ValueError, match="npz is read as a whole"):
        DatasetSettings(npz="a.npz", on_bad_example="skip")


@fuzzed(40)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.tuples(st.integers(0, 10**6), st.integers(0, 255)).map(
            lambda change: _changed(record(png(7), 1), *change)
        ),
        st.tuples(st.integers(0, 10**6), st.integers(0, 255)).map(
            lambda change: record(_changed(png(7), *change), 1)
        ),
    )
)
def test_whatever_a_record_holds_it_is_used_or_a_reason_is_given(content: bytes) -> None:
    reason = why_unusable(content, (4, 4), 3)
    assert "\n" not in reason
    assert "Traceback" not in reason


def _changed(content: bytes, place: int, value: int) -> bytes:
    place %= len(content)
    return content[:place] + bytes([value]) + content[place + 1 :]
