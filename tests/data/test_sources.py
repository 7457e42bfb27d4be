import errno
import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pocketkube.data import Dataset, load_dataset
from pocketkube.data.batches import batches, materialize
from pocketkube.data.dataset import Examples, Labels
from pocketkube.data.npz import load_examples
from pocketkube.data.splits import hold_out, hold_out_by_keys
from pocketkube.errors import DataError, UserError
from pocketkube.spec.reading import load_spec, resolve_paths
from pocketkube.spec.sections import DatasetSettings

GENERATOR = np.random.default_rng(7)


def numbered(count: int) -> np.ndarray:
    """Inputs that say which example they are."""
    return np.arange(count, dtype=np.float32)[:, None]


def identities(dataset: Dataset) -> list[list[int]]:
    parts = (dataset.train, dataset.validation, dataset.test)
    return [materialize(p, None, 0)[0][0].ravel().astype(int).tolist() for p in parts]


def splits_of(dataset: Dataset) -> tuple[Examples, Examples, Examples]:
    return dataset.train, dataset.validation, dataset.test


def load(folder: Path, **settings) -> Dataset:
    return load_dataset(DatasetSettings(**settings), folder)


# --- Splits ---


def test_held_out_examples_are_in_proportion_and_the_same_each_time():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    kept, held = hold_out(labels, 0.1)
    assert sorted([*kept, *held]) == list(range(1000))
    assert np.bincount(labels[held]).tolist() == [60, 30, 10]
    np.testing.assert_array_equal(held, hold_out(labels, 0.1)[1])


def test_a_rare_class_is_never_held_out_as_a_whole():
    labels = np.array([0] * 12 + [1] + [2] * 27)
    for place in range(40):
        turned = np.roll(labels, place)
        kept, held = hold_out(turned, 0.2)
        assert len(held) == 8
        rest, more = hold_out(turned[kept], 0.1)
        assert len(more) == 3
        assert set(turned[kept][rest]) == {0, 1, 2}
    # Nine of ten classes have one example: what is held out is of the tenth.
    few = np.array([*range(9), *[9] * 31])
    assert set(few[hold_out(few, 0.4)[1]]) == {9}
    # Of as many classes as examples some are held out, or there would be nothing to be judged by.
    assert len(hold_out(np.arange(40), 0.2)[1]) == 8
    keys = np.linspace(0, 1, 40)
    kept, held = hold_out_by_keys(keys, np.array([1, *[0] * 39]), 0.2)
    assert kept[0] == 0
    assert held.tolist() == list(range(1, 9))


def test_what_is_held_out_of_classes_that_are_not_rare_stays_what_it_was():
    _, held = hold_out(np.arange(30) % 3, 0.2)
    assert held.tolist() == [12, 13, 14, 15, 22, 29]
    assert hold_out(30, 0.2)[1].tolist() == [3, 10, 11, 12, 24, 27]
    keys = np.random.default_rng(1).random(30)
    _, held = hold_out_by_keys(keys, np.arange(30) % 2, 0.2)
    assert held.tolist() == np.flatnonzero(keys < 0.2).tolist()


def test_first_training_examples_are_taken_before_validation_is_held_out(tmp_path):
    np.savez(tmp_path / "a.npz", x=numbered(200), y=np.arange(200) % 4)
    train, validation, test = identities(load(tmp_path, npz="a.npz", max_train=100))
    assert (len(train), len(validation), len(test)) == (90, 10, 40)
    assert len({*train, *validation, *test}) == 140
    # The first hundred of what the test set leaves.
    assert sorted(train + validation) == sorted(set(range(200)) - set(test))[:100]


# --- Digits ---


def test_digits_are_32_by_32_and_split_into_all_of_them():
    digits = load_dataset(DatasetSettings(builtin="digits", value_range=(-1.0, 1.0)))
    assert digits.input_shapes == ((32, 32, 1),)
    assert digits.labels == (Labels(10, shape=(), whole=(0, 9)),)
    parts = [digits.train, digits.validation, digits.test]
    assert [part.size for part in parts] == [1294, 144, 359]
    images = np.concatenate([part.arrays[0][0] for part in parts])
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (-1.0, 1.0)


# --- NumPy ---


def test_npz_splits_are_disjoint_and_complete(tmp_path):
    np.savez(tmp_path / "a.npz", x=numbered(100), y=np.arange(100) % 5 * 2)
    dataset = load(tmp_path, npz="a.npz")
    train, validation, test = identities(dataset)
    assert sorted(train + validation + test) == list(range(100))
    assert (len(train), len(validation), len(test)) == (72, 8, 20)
    assert dataset.labels == (Labels(9, shape=(), whole=(0, 8)),)  # Gaps between labels are allowed.
    for part in (dataset.train, dataset.validation, dataset.test):
        (x,), (y,) = part.arrays
        np.testing.assert_array_equal(y, x[:, 0].astype(int) % 5 * 2)


def test_npz_of_several_inputs_and_float_labels_is_a_regression(tmp_path):
    tokens = np.arange(120).reshape(30, 4)
    pixels = np.full((30, 2, 2, 3), 255, np.uint8)
    np.savez(tmp_path / "a.npz", x0=tokens, x1=pixels, y0=np.full(30, 0.5), y1=np.ones((30, 2)))
    dataset = load(tmp_path, npz="a.npz", value_range=(0.0, 2.0))
    assert dataset.labels == (Labels(None, shape=(1,)), Labels(None, shape=(2,), whole=(1, 1)))
    assert dataset.input_shapes == ((4,), (2, 2, 3))
    inputs, labels = dataset.train.arrays
    assert [x.dtype for x in inputs] == [np.int32, np.float32]
    assert inputs[1].max() == 2.0
    assert [y.shape[1:] for y in labels] == [(1,), (2,)]
    assert labels[0].dtype == np.float32


def test_an_npz_brings_test_and_validation_sets_of_its_own(tmp_path: Path) -> None:
    x, y = numbered(100), np.arange(100) % 5
    tests = {"x_test": x[:20], "y_test": y[:20]}
    np.savez(tmp_path / "a.npz", x=x[40:], y=y[40:], **tests)
    train, validation, test = identities(load(tmp_path, npz="a.npz"))
    assert test == list(range(20))
    assert (sorted(train + validation), len(validation)) == (list(range(40, 100)), 6)
    np.savez(tmp_path / "a.npz", x=x[40:], y=y[40:], x_val=x[20:40], y_val=y[20:40], **tests)
    dataset = load(tmp_path, npz="a.npz")
    assert identities(dataset) == [list(range(40, 100)), list(range(20, 40)), list(range(20))]
    np.testing.assert_array_equal(dataset.test.arrays[1][0], y[:20])
    inputs = {"x0": x[40:], "x1": x[40:], "x0_test": x[:20], "x1_test": x[20:40], "y": y[40:]}
    np.savez(tmp_path / "two.npz", **inputs, y_test=y[:20])
    first, second = load(tmp_path, npz="two.npz").test.arrays[0]
    np.testing.assert_array_equal(first, x[:20])
    np.testing.assert_array_equal(second, x[20:40])
    np.savez(tmp_path / "inputs.npz", x=x[40:], y=y[40:], x_test=x[:20])
    assert load(tmp_path, npz="inputs.npz", labels=False).test.size == 20
    assert load_examples(tmp_path / "two.npz")[0].labels[0].tolist() == y[:20].tolist()


@pytest.mark.parametrize("word", ["valid", "validation", "dev"])
def test_the_validation_set_of_an_npz_has_other_names_too(tmp_path: Path, word: str) -> None:
    x, y = numbered(60), np.arange(60) % 5
    own = {f"x_{word}": x[:20], f"y_{word}": y[:20]}
    np.savez(tmp_path / "a.npz", x=x[20:], y=y[20:], **own)
    assert identities(load(tmp_path, npz="a.npz"))[1] == list(range(20))
    np.savez(tmp_path / "a.npz", x=x[20:], y=y[20:], **own, x_val=x[:10], y_val=y[:10])
    assert identities(load(tmp_path, npz="a.npz"))[1] == list(range(10))
    np.savez(tmp_path / "a.npz", x=x[20:], **{f"x_{word}": x[:20]})
    assert identities(load(tmp_path, npz="a.npz"))[1] == list(range(20))
    np.savez(tmp_path / "a.npz", x=x[20:], y=y[20:], **own | {f"y_{word}": y[:19]})
    with pytest.raises(UserError, match=rf"as many examples; x_{word} has 20, y_{word} has 19"):
        load(tmp_path, npz="a.npz")


def test_weights_of_training_examples_are_called_as_these_are(tmp_path: Path) -> None:
    x, y = numbered(60), np.arange(60) % 5
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, sample_weight_train=1 + np.arange(60))
    dataset = load(tmp_path, npz="a.npz")
    assert dataset.is_weighted
    (inputs,), (_, weights) = dataset.train.arrays
    np.testing.assert_array_equal(weights, 1 + inputs.ravel())


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["x", "y", "sample_weights"], "names: sample_weights; call them sample_weight, or"),
        (["x", "y", "sample_weight_train"], "names: sample_weight_train; call them sample_weight, or"),
        (["x", "y", "X_test", "Y_test"], "names: X_test, Y_test; call them x_test, y_test, or"),
        (["x", "y", "x_train"], "has both x and x_train, of which only one would be read; keep one"),
        (["x", "y", "x0_train", "y_train"], "has both x and x0_train, of which only one would"),
        (
            ["x_train", "y_train", "sample_weight", "sample_weight_train"],
            "has both sample_weight_train and sample_weight, of which only one would be read; keep one",
        ),
        (["X", "Y"], "names: X, Y; call them x, y, or leave them out"),
        (["x_train", "Y_train"], "names: Y_train; call them y_train, or leave them out"),
        (["x0", "X1", "y"], "names: X1; call them x1, or leave them out"),
        (["x", "y", "X_valid", "Y_valid"], "names: X_valid, Y_valid; call them x_valid, y_valid, or"),
    ],
)
def test_arrays_that_are_called_nearly_as_others_are_told(tmp_path: Path, names, said) -> None:
    arrays = {name: np.arange(60) % 5 if "y" in name.lower() else numbered(60) for name in names}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=said):
        load(tmp_path, npz="a.npz")


@pytest.mark.parametrize(
    "more",
    [
        ["X", "Y"],
        ["X0", "Y_valid"],
        ["sample_weight", "sample_weights"],
        ["x_test", "y_test", "X_test"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("ours", [["x", "y"], ["x_train", "y_train"]], ids=" ".join)
def test_arrays_in_whose_place_others_are_read_may_be_called_nearly_so(
    tmp_path: Path, ours: list[str], more: list[str]
) -> None:
    """As raw images beside those that are scaled, rows beside classes, or which labels are valid."""
    names = [*ours, *more]
    arrays = {name: np.arange(60) % 5 if "y" in name.lower() else numbered(60) for name in names}
    weights = {name: 1 + np.arange(60) for name in names if "weight" in name}
    scaled = {name: -numbered(60) for name in ("X", "X0", "X_test") if name in names}
    np.savez(tmp_path / "a.npz", **arrays | weights | scaled)
    assert {value for part in identities(load(tmp_path, npz="a.npz")) for value in part} == {*range(60)}


def test_labels_that_are_not_asked_for_may_be_called_anything(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=numbered(60), Y=np.arange(60), sample_weights=np.ones(60))
    assert load(tmp_path, npz="a.npz", labels=False).labels == ()


@pytest.mark.parametrize("name", ["x_valid", "y_valid", "y_dev"])
@pytest.mark.parametrize("labels", [True, False])
def test_an_array_that_is_half_a_validation_set_is_none(tmp_path, name, labels) -> None:
    """As a mask of which examples are valid."""
    x, y = numbered(60), np.arange(60) % 5
    np.savez(tmp_path / "a.npz", x=x, y=y, **{name: y > 1})
    train, validation, test = identities(load(tmp_path, npz="a.npz", labels=labels))
    assert sorted([*train, *validation, *test]) == list(range(60))


def test_each_outputs_labels_are_of_their_own_kind(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers, flags = rng.integers(0, 4, 40), rng.random(40) < 0.5
    ages, rows = rng.normal(size=40), np.eye(3)[rng.integers(0, 3, 40)]
    soft = rng.dirichlet(np.ones(3), 40)
    labels = {"y0": ages, "y1": numbers, "y2": rows, "y3": rows.astype(int), "y4": flags, "y5": soft}
    np.savez(tmp_path / "a.npz", x=np.arange(40.0)[:, None], **labels)
    dataset = load(tmp_path, npz="a.npz")
    one_hot = Labels(3, rows=True, shape=(3,), whole=(0, 1))
    assert dataset.labels == (
        Labels(None, shape=(1,)),
        Labels(4, shape=(), whole=(0, 3)),
        one_hot,
        one_hot,
        Labels(2, shape=(), whole=(0, 1)),
        Labels(None, shape=(3,)),
    )
    found = {}
    for part in (dataset.train, dataset.validation, dataset.test):
        ((x,), kinds) = part.arrays
        assert [y.dtype.kind for y in kinds] == ["f", "i", "f", "f", "i", "f"]
        for place, y in enumerate(kinds):
            found.setdefault(f"y{place}", np.zeros_like(labels[f"y{place}"], float))[
                x[:, 0].astype(int)
            ] = y.reshape(-1) if y.shape[1:] == (1,) else y
    for name, y in labels.items():
        np.testing.assert_allclose(found[name], y, rtol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": numbered(9), "y1": np.arange(9)}, "has no array y0; give y, or y0, y1"),
        ({"x": numbered(9), "y": np.arange(9), "y_test": np.arange(2)}, "has no array x_test; give x_"),
        (
            {"x": numbered(9), "y": np.arange(9), "x_test": numbered(3), "y_test": np.arange(2)},
            "as many examples; x_test has 3, y_test has 2",
        ),
        (
            {
                "x": numbered(9),
                "y": np.arange(9),
                "x_test": numbered(3)[:, None],
                "y_test": np.arange(3),
            },
            "x_test has to be like x, of the same shape an example",
        ),
        ({"x0": numbered(9), "x2": numbered(9), "y": np.arange(9)}, "has no array x1"),
        ({"x": numbered(9), "y": np.arange(8)}, "x has 9, y has 8"),
        ({"x": numbered(9), "y": np.zeros(9, int)}, "all examples are of one class"),
        ({"x": numbered(9), "y": np.ones((9, 3), int)}, "all examples are of one class"),
        ({"x": numbered(9) * np.nan, "y": np.arange(9)}, "inputs must be finite; 9 of 9"),
        ({"x": numbered(9), "y": np.full(9, np.nan)}, "labels must be finite"),
        ({"x": np.array([{}] * 9), "y": np.arange(9)}, "holds Python objects"),
        ({"x": np.array(["a"] * 9), "y": np.arange(9)}, "x must hold real numbers. Received: <U1"),
        (
            {"x": np.zeros((9, 2)), "y": np.array(["a"] * 9)},
            "y must hold real numbers; number the classes from 0. Received: <U1",
        ),
        (
            {"x": numbered(9), "y": np.arange(9), "sample_weight": np.ones((9, 0))},
            r"weights of examples are one number each, .* Received: the shape \(9, 0\)\.",
        ),
        ({"x": numbered(2), "y": np.arange(2)}, "too few examples"),
        ({"x": numbered(0), "y": np.zeros(0, int)}, "has no examples"),
        ({"x": numbered(0), "y": np.zeros(0)}, "has no examples"),
    ],
)
def test_says_what_is_wrong_with_an_npz(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=message):
        load(tmp_path, npz="a.npz")


def test_says_when_an_npz_is_missing_or_damaged(tmp_path):
    with pytest.raises(UserError, match=r"there is no such .npz file"):
        load(tmp_path, npz="a.npz")
    np.savez(tmp_path / "a.npz", x=numbered(900), y=np.arange(900))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:1000])
    with pytest.raises(UserError, match=r"is not a readable .npz file"):
        load(tmp_path, npz="a.npz")


# --- IDX ---


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def idx_folder(folder: Path, ending: str = "-idx{}-ubyte.gz") -> Path:
    for part, count in (("train", 50), ("t10k", 20)):
        pixels = GENERATOR.integers(0, 256, (count, 28, 28))
        write_idx(folder / f"{part}-images{ending.format(3)}", pixels)
        write_idx(folder / f"{part}-labels{ending.format(1)}", np.arange(count) % 10)
    return folder


@pytest.mark.parametrize("ending", ["-idx{}-ubyte", "-idx{}-ubyte.gz", ".idx{}-ubyte"])
def test_idx_keeps_its_own_test_set(tmp_path, ending):
    dataset = load(idx_folder(tmp_path, ending), idx=".")
    assert [p.size for p in (dataset.train, dataset.validation, dataset.test)] == [45, 5, 20]
    assert dataset.input_shapes == ((28, 28, 1),)
    np.testing.assert_array_equal(dataset.test.arrays[1][0], np.arange(20) % 10)


def test_idx_pads_to_a_larger_size_and_shrinks_to_a_smaller(tmp_path):
    plain = load(idx_folder(tmp_path), idx=".").test.arrays[0][0]
    larger = load(tmp_path, idx=".", image_size=(32, 32)).test.arrays[0][0]
    np.testing.assert_array_equal(larger[:, 2:30, 2:30], plain)
    assert np.count_nonzero(larger) == np.count_nonzero(plain)
    # Black is the range's low end, around the image too.
    shifted = load(tmp_path, idx=".", image_size=(32, 32), value_range=(-1.0, 1.0))
    assert (shifted.test.arrays[0][0][:, :2] == -1.0).all()
    assert load(tmp_path, idx=".", image_size=(14, 14)).input_shapes == ((14, 14, 1),)


def test_says_what_is_wrong_with_idx_files(tmp_path):
    with pytest.raises(UserError, match="dataset-fashion-mnist installs such files"):
        load(tmp_path, idx="nowhere")
    with pytest.raises(UserError, match="has no file train-images-idx3-ubyte"):
        load(tmp_path, idx=".")
    labels = idx_folder(tmp_path, "-idx{}-ubyte") / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-3])
    with pytest.raises(UserError, match="damaged; its header promises 50 bytes, it has 47 of them"):
        load(tmp_path, idx=".")
    labels.write_bytes(b"\0\0\x0d\x01" + whole[4:])
    with pytest.raises(UserError, match="it begins with 00000d01, not 00000801"):
        load(tmp_path, idx=".")


# --- CIFAR ---


def cifar_files(classes: int, kind: str) -> dict[str, bytes]:
    names = (
        [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]
        if classes == 10
        else ["train", "test"]
    )
    files = {}
    for name in names:
        labels = np.arange(20, dtype=np.uint8) * (classes // 10) % classes
        # All red pixels are 255; green and blue tell the label.
        pixels = np.repeat(np.stack([np.full(20, 255), labels, labels], 1), 1024, 1).astype(np.uint8)
        if kind == "binary":
            coarse = [np.zeros((20, 1), np.uint8)] if classes == 100 else []
            files[f"{name}.bin"] = np.hstack([*coarse, labels[:, None], pixels]).tobytes()
        else:
            key = b"labels" if classes == 10 else b"fine_labels"
            files[name] = pickle.dumps({key: labels.tolist(), b"data": pixels}, protocol=2)
    return files


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ["binary", "python"])
@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_in_each_of_its_forms(tmp_path, classes, kind, packed):
    files = cifar_files(classes, kind)
    if packed:
        write_tar(tmp_path / "c.tar.gz", {f"cifar/{name}": data for name, data in files.items()})
    else:
        (tmp_path / "c.tar.gz" / "cifar").mkdir(parents=True)
        for name, data in files.items():
            (tmp_path / "c.tar.gz" / "cifar" / name).write_bytes(data)
    dataset = load(tmp_path, **{f"cifar{classes}": "c.tar.gz"}, value_range=(0.0, 255.0))
    assert dataset.input_shapes == ((32, 32, 3),)
    assert dataset.test.size == 20
    assert dataset.train.size + dataset.validation.size == (100 if classes == 10 else 20)
    (x,), (y,) = dataset.train.arrays
    np.testing.assert_allclose(x[:, :, :, 0], 255.0, rtol=1e-6)
    np.testing.assert_allclose(x[:, 5, 9, 2], y, atol=1e-4)


class Attack:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_a_cifar_archive_can_run_nothing_and_write_nothing(tmp_path):
    files = cifar_files(10, "python")
    files["data_batch_3"] = pickle.dumps(Attack(tmp_path / "ran"), protocol=2)
    write_tar(tmp_path / "c.tar.gz", files)
    with pytest.raises(
        UserError, match=r"data_batch_3 is no .*: it asks for .*; only arrays are loaded"
    ):
        load(tmp_path, cifar10="c.tar.gz")
    assert not (tmp_path / "ran").exists()
    names = {f"../../{name}": data for name, data in cifar_files(10, "binary").items()}
    write_tar(tmp_path / "c.tar.gz", names)
    load(tmp_path, cifar10="c.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["c.tar.gz"]
    assert not list(tmp_path.parent.glob("*.bin"))


@pytest.mark.parametrize("packed", [True, False], ids=["an archive", "a folder"])
def test_two_files_of_one_name_are_no_cifar(tmp_path, packed):
    """The later one would take the other's place."""
    files = cifar_files(10, "binary")
    files = {f"batches/{name}": data for name, data in files.items()}
    files["subset/data_batch_1.bin"] = files["batches/data_batch_1.bin"][:3073]
    if packed:
        write_tar(tmp_path / "c", files)
    else:
        for name, data in files.items():
            (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "c" / name).write_bytes(data)
    with pytest.raises(UserError, match=r"has both batches/data_batch_1\.bin and subset/data_batch_1"):
        load(tmp_path, cifar10="c")


def test_equal_copies_of_cifar_are_taken_once(tmp_path):
    """As versions of Keras leave them beside each other, or links, or what only is called as a file."""
    for name, data in cifar_files(100, "python").items():
        for folder in ("cifar-100-python", "cifar-100-python-target/cifar-100-python"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_bytes(data)
    (tmp_path / "test").symlink_to("cifar-100-python/test")
    (tmp_path / ".git/refs/heads").mkdir(parents=True)
    (tmp_path / ".git/refs/heads/test").write_text("0123456789")
    dataset = load(tmp_path, cifar100=".")
    assert (dataset.train.size + dataset.validation.size, dataset.test.size) == (20, 20)


def test_a_link_may_lead_to_cifar_in_a_hidden_folder_beside_it(tmp_path):
    (tmp_path / ".store").mkdir()
    for name, data in cifar_files(100, "python").items():
        (tmp_path / ".store" / name).write_bytes(data)
    (tmp_path / "cifar-100-python").symlink_to(".store")
    assert load(tmp_path, cifar100=".").test.size == 20


def test_what_a_cifar_archive_has_twice_at_one_place_is_the_later_one(tmp_path):
    files = cifar_files(10, "binary")
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        first = {"c/test_batch.bin": files["test_batch.bin"][:3073]}
        for place, data in [*first.items(), *((f"./c/{name}", data) for name, data in files.items())]:
            member = tarfile.TarInfo(place)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert load(tmp_path, cifar10="c.tar").test.size == 20


def test_says_what_is_wrong_with_cifar(tmp_path):
    with pytest.raises(UserError, match="no such folder or archive; give CIFAR-10's"):
        load(tmp_path, cifar10="c")
    with pytest.raises(UserError, match="holds no CIFAR-10 files"):
        load(tmp_path, cifar10=".")
    (tmp_path / "data_batch_1.bin").write_bytes(b"1" * 3000)
    (tmp_path / "test_batch.bin").write_bytes(b"1" * 3000)
    with pytest.raises(UserError, match=r"data_batch_1.bin is damaged; its 3000 bytes"):
        load(tmp_path, cifar10=".")
    (tmp_path / "c.tar.gz").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="is not a readable tar archive"):
        load(tmp_path, cifar10="c.tar.gz")


# --- Image folder ---


def write_image(path: Path, value: int, size: int = 8, channels: int = 3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size, size, channels), value, np.uint8)
    encode = tf.io.encode_jpeg if path.suffix == ".jpg" else tf.io.encode_png
    path.write_bytes(encode(pixels).numpy())


def image_folder(folder: Path, count: int = 20) -> Path:
    for index in range(count):
        write_image(folder / "cat" / f"{index:02}.png", index)
        write_image(folder / "dog" / f"{index:02}.png", 100 + index)
    return folder


def test_image_folder_splits_are_disjoint_and_complete(tmp_path):
    dataset = load(image_folder(tmp_path), image_folder=".", value_range=(0.0, 255.0))
    assert dataset.input_shapes == ((8, 8, 3),)
    assert dataset.labels == (Labels(2, shape=(), whole=(0, 1)),)
    seen = []
    for part in (dataset.train, dataset.validation, dataset.test):
        (x,), (y,) = part.arrays
        seen += np.round(x[:, 0, 0, 0]).astype(int).tolist()
        np.testing.assert_array_equal(y, x[:, 0, 0, 0] > 50)
        assert set(y) == {0, 1}
    assert sorted(seen) == [*range(20), *range(100, 120)]


def test_an_image_folder_that_does_not_fit_in_memory_is_read_as_it_is_needed(tmp_path, monkeypatch):
    whole = load(image_folder(tmp_path), image_folder=".", image_size=(6, 6))
    monkeypatch.setattr("pocketkube.data.image_folder._IN_MEMORY_BYTES", 0)
    stream = load(tmp_path, image_folder=".", image_size=(6, 6))
    assert stream.train.arrays is None
    for left, right in zip(
        materialize(whole.train, None, 0), materialize(stream.train, None, 0), strict=True
    ):
        np.testing.assert_array_equal(left[0], right[0])
    broken = tmp_path / "cat" / "07.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"^/\S+/cat/07.png: the image is broken and cannot be"):
        [list(batches(part, 4)) for part in (stream.train, stream.validation, stream.test)]


def test_copies_that_editors_leave_in_an_image_folder_are_no_examples(tmp_path):
    folder = image_folder(tmp_path)
    write_image(folder / "cat" / ".ipynb_checkpoints" / "00-checkpoint.png", 0)
    write_image(folder / "dog" / "._00.png", 100)
    dataset = load(folder, image_folder=".")
    assert sum(part.size for part in (dataset.train, dataset.validation, dataset.test)) == 40


def test_images_in_folders_that_are_links_are_examples_too(tmp_path):
    write_image(tmp_path / "more" / "deep" / "x.png", 7)
    image_folder(tmp_path / "pets", 5)
    (tmp_path / "pets" / "cat" / "linked").symlink_to(tmp_path / "more")
    # One that leads back adds nothing, and ends.
    (tmp_path / "pets" / "dog" / "again").symlink_to(tmp_path / "pets" / "dog")
    dataset = load(tmp_path, image_folder="pets")
    labels = np.concatenate([part.arrays[1][0] for part in splits_of(dataset)])
    assert np.bincount(labels).tolist() == [6, 5]


def test_a_folder_of_images_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    """Whoever runs tests may read everything, perhaps."""
    image_folder(tmp_path, 5)
    for name in ("old", ".cache"):
        write_image(tmp_path / "cat" / name / "x.png", 7)
    (tmp_path / "lost+found").mkdir()
    closed = {str(tmp_path / "cat" / ".cache"), str(tmp_path / "lost+found")}
    scandir = os.scandir

    def guarded(path):
        if str(path) in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert sum(part.size for part in splits_of(load(tmp_path, image_folder="."))) == 11
    assert load(tmp_path, image_folder=".", labels=False).labels == ()
    closed.add(str(tmp_path / "cat" / "old"))
    with pytest.raises(UserError, match=r"cat/old: cannot be read \(Permission denied\)"):
        load(tmp_path, image_folder=".")


def test_image_folder_with_its_own_splits(tmp_path):
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        for index in range(count):
            for name in ("a", "b"):
                write_image(tmp_path / part / name / f"{index}.jpg", 10 * index, 8, 1)
    dataset = load(tmp_path, image_folder=".")
    assert [p.size for p in (dataset.train, dataset.validation, dataset.test)] == [12, 4, 6]
    assert dataset.input_shapes == ((8, 8, 1),)
    write_image(tmp_path / "val" / "c" / "0.jpg", 1)
    with pytest.raises(UserError, match=r"val: has the class c, which .*train does not have"):
        load(tmp_path, image_folder=".")
    write_image(tmp_path / "validation" / "a" / "0.jpg", 1)
    with pytest.raises(UserError, match="has both val and validation; keep one of them"):
        load(tmp_path, image_folder=".")


@pytest.mark.parametrize(
    "names",
    [("train", "valid"), ("Train", "Test"), ("training", "testing"), ("training_set", "test_set")],
)
def test_splits_of_an_image_folder_have_other_names_too(tmp_path, names):
    for part, count in zip((*names, "__MACOSX"), (8, 3, 0), strict=True):
        (tmp_path / part).mkdir()
        for index in range(count):
            for name in ("cat", "dog"):
                write_image(tmp_path / part / name / f"{index}.jpg", 10 * index, 8, 1)
    dataset = load(tmp_path, image_folder=".")
    assert dataset.labels[0].num_classes == 2
    own = dataset.validation if names[1] == "valid" else dataset.test
    assert own.size == 6
    write_image(tmp_path / "more" / "cat" / "0.jpg", 1)
    with pytest.raises(UserError, match=r"which are splits, and more beside them: take it out"):
        load(tmp_path, image_folder=".")


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (
            ("val/cat", "val/dog", "test/cat", "test/dog"),
            "has test and val, which are splits, but no train",
        ),
        (
            ("cat", "dog", "test/cat", "test/dog"),
            "has cat beside test, which is a split, and in it, too",
        ),
    ],
)
def test_splits_are_never_taken_for_classes(tmp_path, folders, said):
    for name in folders:
        write_image(tmp_path / name / "0.png", 1)
    with pytest.raises(UserError, match=said):
        load(tmp_path, image_folder=".")


@pytest.mark.parametrize(
    "folders",
    [("test", "val"), ("test_data", "test_images"), ("cat", "test/cat"), ("cat", "train/cat")],
)
def test_images_without_labels_are_one_pool_where_their_folders_are_no_splits(tmp_path, folders):
    for place, name in enumerate(folders):
        for index in range(10):
            write_image(tmp_path / name / f"{index}.png", 10 * place + index)
    dataset = load(tmp_path, image_folder=".", labels=False, value_range=(0.0, 255.0))
    parts = (dataset.train, dataset.validation, dataset.test)
    images = np.concatenate([part.arrays[0][0] for part in parts])
    assert sorted(np.round(images[:, 0, 0, 0]).astype(int)) == list(range(20))


@pytest.mark.parametrize(
    ("one", "other"),
    [("train2017", "val2017"), ("seg_test", "seg_train"), ("my-test", "rest"), ("testset", "trainset")],
)
def test_folders_that_look_like_splits_are_not_taken_for_classes(tmp_path, one, other):
    for name in (f"{one}/cat", f"{one}/dog", f"{other}/cat", f"{other}/dog"):
        write_image(tmp_path / name / "0.png", 1)
    said = (
        f"{one}, {other} all hold folders called cat, dog, no image themselves: if these are the "
        "classes, call the folders that they are in train, validation and test"
    )
    with pytest.raises(UserError, match=said):
        load(tmp_path, image_folder=".")


@pytest.mark.parametrize(
    ("cat", "dog"),
    [
        (["cat/images"], ["dog/images"]),
        (["cat/2023"], ["dog/2024"]),
        (["cat/2023", "cat/2024"], ["dog/2023", "dog/2024"]),
        (["bottle/train", "bottle/test"], ["latest/train", "latest/test"]),
        (["train"], ["bus"]),
        (["test 1"], ["test 2"]),
    ],
)
def test_folders_of_folders_are_still_classes(tmp_path, cat, dog):
    for name in (*cat, *dog):
        for index in range(20):
            write_image(tmp_path / name / f"{index:02}.png", index)
    names = tuple(sorted({name.split("/")[0] for name in (*cat, *dog)}))
    assert load(tmp_path, image_folder=".").class_names == names


def test_max_train_of_arrays_that_are_sorted_by_class_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", x=numbered(100), y=np.repeat(np.arange(2), 50))
    assert load(tmp_path, npz="a.npz", max_train=60).train.size == 54
    with pytest.raises(UserError, match="all examples are of one class"):
        load(tmp_path, npz="a.npz", max_train=30)


@pytest.mark.parametrize(
    ("name", "images", "said"),
    [
        (
            "test",
            ["1.png", "2.png"],
            "2 images in no class's folder: put them into folders of their cla",
        ),
        ("test", [], "no image: put some into it"),
        ("val", [], "no image: put some into it"),
    ],
    ids=["Kaggle's", "an empty test", "an empty val"],
)
def test_a_split_without_images_of_classes_is_told(tmp_path, name, images, said):
    image_folder(tmp_path / "train", 5)
    (tmp_path / name).mkdir()
    for image in images:
        write_image(tmp_path / name / image, 1)
    with pytest.raises(UserError) as refused:
        load(tmp_path, image_folder=".")
    assert str(refused.value).startswith(f"{tmp_path / name}: has {said}")
    split = {"test": "test", "val": "validation"}[name]
    assert f"take the folder out, and a {split} set is held out of train" in str(refused.value)


def test_says_what_is_wrong_with_an_image_folder(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        load(tmp_path, image_folder="nowhere")
    write_image(tmp_path / "cat" / "0.png", 1)
    with pytest.raises(UserError, match=r"at least two classes. Received: cat"):
        load(tmp_path, image_folder=".")
    image_folder(tmp_path)
    write_image(tmp_path / "dog" / "large.png", 1, 9)
    with pytest.raises(UserError, match=r"differ in size .*: set the dataset's image_size"):
        load(tmp_path, image_folder=".")
    (tmp_path / "dog" / "large.png").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"dog/large.png: is not a readable image"):
        load(tmp_path, image_folder=".")
    write_image(tmp_path / "dog" / "large.png", 1)
    whole = (tmp_path / "dog" / "large.png").read_bytes()
    (tmp_path / "dog" / "large.png").write_bytes(whole[:-30])
    with pytest.raises(UserError, match=r"dog/large.png: the image is broken"):
        load(tmp_path, image_folder=".")


# --- TFRecord ---


def write_records(path: Path, values: range, labels: int = 4, offset: int = 0) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for value in values:
            image = tf.io.encode_png(np.full((4, 4, 3), value, np.uint8)).numpy()
            feature = {
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                "image/class/label": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[value % labels + offset])
                ),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def record_values(dataset: Dataset) -> list[list[int]]:
    parts = (dataset.train, dataset.validation, dataset.test)
    found = [materialize(part, None, 0) for part in parts]
    for (x,), (y,) in found:
        np.testing.assert_array_equal(np.round(x[:, 0, 0, 0]).astype(int) % 4, y)
    return [np.round(x[:, 0, 0, 0]).astype(int).tolist() for (x,), _ in found]


def test_tfrecord_splits_are_disjoint_complete_and_counted(tmp_path):
    write_records(tmp_path / "a-0", range(100))
    write_records(tmp_path / "a-1", range(100, 200))
    dataset = load(tmp_path, tfrecord="a-*", value_range=(0.0, 255.0))
    values = record_values(dataset)
    assert sorted(value for part in values for value in part) == list(range(200))
    sizes = [part.size for part in (dataset.train, dataset.validation, dataset.test)]
    assert sizes == list(map(len, values))
    assert 20 < sizes[2] < 60
    assert 5 < sizes[1] < 35
    assert values == record_values(load(tmp_path, tfrecord="a-*", value_range=(0.0, 255.0)))


def test_tfrecord_files_named_for_a_split_are_that_split(tmp_path):
    write_records(tmp_path / "train-00000-of-00001", range(100))
    write_records(tmp_path / "validation-00000-of-00001", range(100, 120))
    write_records(tmp_path / "test-00000-of-00001", range(120, 130))
    settings = {"tfrecord": "*-of-*", "value_range": (0.0, 255.0), "max_train": 50}
    train, validation, test = record_values(load(tmp_path, **settings))
    assert (train, validation, test) == (
        list(range(50)),
        list(range(100, 120)),
        list(range(120, 130)),
    )


@pytest.mark.parametrize(
    ("validation", "test"),
    [("val", "test"), ("valid", "testing"), ("dev", "Test"), ("Valid_1", "test2")],
)
def test_tfrecord_files_are_splits_by_the_words_that_folders_are(tmp_path, validation, test):
    write_records(tmp_path / "train-0", range(60))
    write_records(tmp_path / f"{validation}-0", range(100, 120))
    write_records(tmp_path / f"{test}-0", range(120, 130))
    parts = record_values(load(tmp_path, tfrecord="*", value_range=(0.0, 255.0)))
    assert parts == [list(range(60)), list(range(100, 120)), list(range(120, 130))]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("train", "val", "test"), ("training_set/2020", "dev", "test_set"), ("a", "b/valid", "testing")],
)
def test_tfrecords_in_folders_that_are_called_as_splits_are_these(tmp_path, train, validation, test):
    for folder in (train, validation, test):
        (tmp_path / "test" / folder).mkdir(parents=True)
    write_records(tmp_path / "test" / train / "part-0", range(60))
    write_records(tmp_path / "test" / validation / "part-0", range(100, 120))
    write_records(tmp_path / "test" / test / "part-0", range(120, 180))
    parts = record_values(load(tmp_path, tfrecord="test/**/part-*", value_range=(0.0, 255.0)))
    assert parts == [list(range(60)), list(range(100, 120)), list(range(120, 180))]
    # What they are all in says nothing.
    alone = record_values(load(tmp_path, tfrecord=f"test/{test}/*", value_range=(0.0, 255.0)))
    assert sorted(value for part in alone for value in part) == list(range(120, 180))


@pytest.mark.parametrize("split", ["test", "valid"])
def test_a_split_that_all_folders_of_tfrecords_are_called_says_nothing(tmp_path, split):
    """As what is common to all subjects, or valid in the sense of checked."""
    for place, subject in enumerate(("a", "b")):
        (tmp_path / subject / split).mkdir(parents=True)
        write_records(tmp_path / subject / split / "0", range(100 * place, 100 * place + 100))
    parts = record_values(load(tmp_path, tfrecord=f"*/{split}/*", value_range=(0.0, 255.0)))
    assert all(parts)
    assert sorted(value for part in parts for value in part) == list(range(200))


def test_a_tfrecord_file_whose_name_says_no_split_is_of_its_folders(tmp_path):
    for folder in ("train", "val", "test"):
        (tmp_path / folder).mkdir()
    write_records(tmp_path / "train/part-0", range(60))
    write_records(tmp_path / "val/part-0", range(60, 80))
    write_records(tmp_path / "test/part-0", range(80, 100))
    write_records(tmp_path / "test/test-part-1", range(100, 120))
    parts = record_values(load(tmp_path, tfrecord="*/*", value_range=(0.0, 255.0)))
    assert parts == [list(range(60)), list(range(60, 80)), list(range(80, 120))]
    with pytest.raises(UserError, match="none to train on; let it match such, too, as"):
        load(tmp_path, tfrecord="[vt][ae][ls]*/*")


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("dev-train", "dev-val"),
        ("train_valid", "val"),
        ("coco-testing-training", "coco-testing-val"),
        ("prod-dev", "prod-dev-val"),
        ("valid", "train-validation"),
    ],
)
def test_words_that_say_other_things_too_leave_tfrecords_for_training(tmp_path, train, validation):
    """As dev does in the name of a product's data."""
    write_records(tmp_path / f"{train}-00000-of-00001", range(100))
    parts = record_values(load(tmp_path, tfrecord="*", value_range=(0.0, 255.0)))
    assert sorted(value for part in parts for value in part) == list(range(100))
    write_records(tmp_path / f"{validation}-00000-of-00001", range(100, 120))
    found, own, held_out = record_values(load(tmp_path, tfrecord="*", value_range=(0.0, 255.0)))
    assert own == list(range(100, 120))
    assert sorted(found + held_out) == list(range(100))


@pytest.mark.parametrize("name", ["a.tfrecord", "*.tfrecord", "b[1].records"])
def test_records_are_found_below_a_folder_with_brackets_in_its_name(tmp_path, name):
    folder = tmp_path / "job [1]"
    folder.mkdir()
    write_records(folder / "a.tfrecord", range(60))
    write_records(folder / "b[1].records", range(60))
    (folder / "spec.yaml").write_text(
        f"dataset: {{tfrecord: '{name}'}}\nmodel: lenet\nstages: [fine_tune]\n"
    )
    settings = resolve_paths(load_spec(folder / "spec.yaml"), folder).dataset
    parts = record_values(load_dataset(settings.model_copy(update={"value_range": (0.0, 255.0)})))
    assert sorted(value for part in parts for value in part) == list(range(60))


def test_says_what_is_wrong_with_tfrecords(tmp_path):
    with pytest.raises(UserError, match="no file matches"):
        load(tmp_path, tfrecord="a*")
    # A folder is no file, be it among such or named itself.
    (tmp_path / "a-folder").mkdir()
    with pytest.raises(UserError, match="a-folder: no file matches; give a pattern"):
        load(tmp_path, tfrecord="a-folder")
    write_records(tmp_path / "a", range(100), offset=-1)
    with pytest.raises(UserError, match=r"labels must be 0 or more. Received: -1"):
        load(tmp_path, tfrecord="a*")
    write_records(tmp_path / "a", range(100), labels=1)
    with pytest.raises(UserError, match="all examples are of one class"):
        load(tmp_path, tfrecord="a*")
    write_records(tmp_path / "a", range(100))
    write_records(tmp_path / "b", range(100))
    (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes()[:-7])
    with pytest.raises(UserError, match="/b: has a record that is damaged"):
        load(tmp_path, tfrecord="[ab]")


def test_large_records_are_shuffled_among_as_many_as_memory_has_room_for(tmp_path, monkeypatch):
    write_records(tmp_path / "a", range(100))
    size_bytes = (tmp_path / "a").stat().st_size
    assert load(tmp_path, tfrecord="a").train.shuffled_among == 8192
    monkeypatch.setattr("pocketkube.data.tfrecord._SHUFFLED_BYTES", size_bytes // 4)
    assert 20 < load(tmp_path, tfrecord="a").train.shuffled_among < 40


def test_arrays_may_be_called_as_keras_s_mnist_npz_calls_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)).astype("float32"), np.arange(30) % 3
    ours = {"x": x[:20], "y": y[:20], "x_test": x[20:], "y_test": y[20:]}
    np.savez(tmp_path / "ours.npz", **ours)
    np.savez(tmp_path / "theirs.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    found = [
        load_dataset(DatasetSettings(npz=str(tmp_path / f"{name}.npz"))) for name in ("ours", "theirs")
    ]
    for part in ("train", "validation", "test"):
        (one, ones), (other, others) = (
            materialize(getattr(dataset, part), None, 0) for dataset in found
        )
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(ones[0], others[0])
    np.testing.assert_array_equal(materialize(found[1].test, None, 0)[0][0], x[20:])
