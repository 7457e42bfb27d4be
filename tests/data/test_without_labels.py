"""Sources of inputs alone: the same splits of the same examples, without labels."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pocketkube.data import Dataset, load_dataset
from pocketkube.data.batches import batches, materialize
from pocketkube.errors import UserError
from pocketkube.spec.sections import Augmentation, DatasetSettings

X = np.arange(40.0, dtype="float32")[:, None]


def load(folder: Path, **settings) -> Dataset:
    return load_dataset(DatasetSettings(**settings), folder)


def inputs_of(dataset: Dataset) -> list[np.ndarray]:
    found = []
    for part in (dataset.train, dataset.validation, dataset.test):
        inputs, labels = materialize(part, None, 0)
        assert labels == ()
        assert len(inputs[0]) == part.size
        found.append(inputs[0])
    return found


def write_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(np.full((8, 8, 3), value, np.uint8)).numpy())


def test_an_npz_of_inputs_alone_is_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X)
    dataset = load(tmp_path, npz="x.npz")
    assert not dataset.labels
    assert not dataset.is_labelled
    parts = inputs_of(dataset)
    assert sorted(np.concatenate(parts).ravel().tolist()) == list(range(40))
    assert [len(part) for part in parts] == [29, 3, 8]
    np.savez(tmp_path / "weighted.npz", x=X, sample_weight=np.ones(40))
    with pytest.raises(UserError, match=r"weights of examples but no labels.*leave them out"):
        load(tmp_path, npz="weighted.npz")


def test_labels_can_be_left_aside_and_the_splits_stay(tmp_path: Path) -> None:
    np.savez(tmp_path / "xy.npz", x=X, y=np.arange(40) % 4)
    whole, alone = load(tmp_path, npz="xy.npz"), load(tmp_path, npz="xy.npz", labels=False)
    for part, other in zip(inputs_of(alone), (whole.train, whole.validation, whole.test), strict=True):
        np.testing.assert_array_equal(part, materialize(other, None, 0)[0][0])


@pytest.mark.parametrize(
    "more",
    [
        {"y": np.array(["cat"] * 40)},
        {"y": np.full(40, np.nan)},
        {"y": np.zeros(40, int)},
        {"y": np.array([{}] * 40)},
        {"y": np.arange(9)},
        {"y1": np.arange(40)},
        {"y": np.arange(40) % 2, "x_test": X[:5], "y_test": np.arange(3)},
        {"y": np.arange(40) % 2, "sample_weight": np.full(40, -1.0)},
        {"sample_weight": np.ones(40)},
    ],
    ids=[
        "text",
        "nan",
        "one class",
        "objects",
        "other length",
        "gap",
        "test of other length",
        "negative weights",
        "weights alone",
    ],
)
def test_nothing_is_asked_of_labels_that_are_left_aside(tmp_path: Path, more: dict) -> None:
    np.savez(tmp_path / "xy.npz", x=X, **more)
    own = len(more.get("x_test", ()))
    parts = inputs_of(load(tmp_path, npz="xy.npz", labels=False))
    kept = parts[:2] if own else parts
    assert sorted(np.concatenate(kept).ravel().tolist()) == list(range(40))
    assert len(parts[2]) == (own or 8)
    with pytest.raises(UserError):
        load(tmp_path, npz="xy.npz")


def test_idx_images_need_no_labels_where_these_are_left_aside(tmp_path: Path) -> None:
    def write(name: str, array: np.ndarray) -> None:
        header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / name).write_bytes(header + array.astype(np.uint8).tobytes())

    for part, count in (("train", 40), ("t10k", 8)):
        write(f"{part}-images-idx3-ubyte", np.arange(count)[:, None, None] * np.ones((1, 4, 4)))
        write(f"{part}-labels-idx1-ubyte", np.arange(count) % 4)
    whole, alone = load(tmp_path, idx="."), load(tmp_path, idx=".", labels=False)
    for part, other in zip(inputs_of(alone), (whole.train, whole.validation, whole.test), strict=True):
        np.testing.assert_array_equal(part, materialize(other, None, 0)[0][0])
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-labels-idx1-ubyte").unlink()
    assert [len(part) for part in inputs_of(load(tmp_path, idx=".", labels=False))] == [36, 4, 8]


def test_a_folder_of_photos_has_no_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(20):
        write_image(tmp_path / "photos" / f"{index:02}.png", index)
        write_image(tmp_path / "albums" / ("2023" if index % 2 else "2024") / f"{index:02}.png", index)
        write_image(tmp_path / "split" / ("test" if index > 15 else "train") / f"{index:02}.png", index)
    settings = {"value_range": (0.0, 255.0)}
    found = inputs_of(load(tmp_path, image_folder="photos", **settings))
    values = [sorted(np.round(part[:, 0, 0, 0]).astype(int).tolist()) for part in found]
    assert sorted(value for part in values for value in part) == list(range(20))
    # Folders are classes where nothing is said; they may be albums.
    assert load(tmp_path, image_folder="albums").is_labelled
    albums = load(tmp_path, image_folder="albums", labels=False, **settings)
    assert sum(part.size for part in (albums.train, albums.validation, albums.test)) == 20
    assert not albums.labels
    *_, test = inputs_of(load(tmp_path, image_folder="split", **settings))
    assert np.round(test[:, 0, 0, 0]).astype(int).tolist() == [16, 17, 18, 19]
    # More than memory holds is read as it comes, and changed at random as images with labels are.
    monkeypatch.setattr("pocketkube.data.image_folder._IN_MEMORY_BYTES", 0)
    stream = load(tmp_path, image_folder="photos", **settings)
    assert stream.train.arrays is None
    for part, other in zip(inputs_of(stream), found, strict=True):
        np.testing.assert_array_equal(part, other)
    change = Augmentation(shift=1, flip=True, mixup=0.2)
    for (images,), labels in batches(stream.train, 4, epoch_seed=(0, 0), augmentation=change):
        assert images.shape[1:] == (8, 8, 3)
        assert labels == ()


def test_records_without_a_label_have_none(tmp_path: Path) -> None:
    def write(name: str, labels: bool) -> None:
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            for value in range(60):
                png = tf.io.encode_png(np.full((4, 4, 3), value, np.uint8)).numpy()
                feature = {
                    "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))
                }
                if labels:
                    number = tf.train.Int64List(value=[value % 3])
                    feature["image/class/label"] = tf.train.Feature(int64_list=number)
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())

    write("a-0", labels=False)
    found = inputs_of(load(tmp_path, tfrecord="a-*", value_range=(0.0, 255.0)))
    assert sorted(np.round(np.concatenate(found)[:, 0, 0, 0]).astype(int)) == list(range(60))
    write("a-1", labels=True)
    with pytest.raises(UserError, match="some records have an image/class/label and others none"):
        load(tmp_path, tfrecord="a-*")
    assert not load(tmp_path, tfrecord="a-*", labels=False).labels


def test_labels_of_another_name_are_not_left_out_silently(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((40, 4, 4, 1), np.float32), labels=np.arange(40))
    with pytest.raises(UserError, match=r"has no y, but labels: call the labels y, or say dataset"):
        load_dataset(DatasetSettings(npz=str(tmp_path / "d.npz")))
    np.savez(tmp_path / "train.npz", x_train=np.ones((30, 4)), labels=np.arange(30))
    with pytest.raises(UserError, match=r"has no y, but labels: call the labels y_train, or say dat"):
        load_dataset(DatasetSettings(npz=str(tmp_path / "train.npz")))
    assert load_dataset(DatasetSettings(npz=str(tmp_path / "d.npz"), labels=False)).labels == ()


def test_none_is_no_data_set() -> None:
    with pytest.raises(UserError, match="none has no examples"):
        load_dataset(DatasetSettings(builtin="none"))
