"""Files that were real and were damaged then: each is read, or refused in one line."""

import gzip
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers
from PIL import Image

from pocketkube.benchmarking.samples import load_samples
from pocketkube.bundle import load_model, load_scores
from pocketkube.data import load_dataset
from pocketkube.data.npz import load_examples
from pocketkube.errors import UserError
from pocketkube.facts import load_facts
from pocketkube.packing import load_packed, write_packed
from pocketkube.spec.sections import DatasetSettings
from tests.bombs import zipped
from tests.damage import damaged
from tests.fuzzing import fuzzed

OLD = Path(__file__).parents[1] / "old_files"
WEIGHTS = "model.weights.h5"


def read_or_refused(read: Callable[[], object]) -> None:
    said = ""
    try:
        read()
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1000


def content_of(write: Callable[[io.BytesIO], object]) -> bytes:
    content = io.BytesIO()
    write(content)
    return content.getvalue()


def of_dataset(folder: Path, **settings: object) -> Callable[[], object]:
    return lambda: load_dataset(DatasetSettings(**settings), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def damaged_archives(members: dict[str, bytes], *damageable: str) -> st.SearchStrategy[bytes]:
    """Zip archives that are damaged themselves, or honest ones of a damaged member."""

    def packed(changed: dict[str, bytes]) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, each in (members | changed).items():
                archive.writestr(name, each)
        return content.getvalue()

    of_members = [
        damaged(members[name]).map(lambda c, name=name: packed({name: c})) for name in damageable
    ]
    return st.one_of(damaged(packed({})), *of_members)


# --- Arrays ---

EXAMPLES = content_of(lambda f: np.savez(f, x=np.arange(80.0).reshape(20, 4), y=np.arange(20) % 3))
with zipfile.ZipFile(io.BytesIO(EXAMPLES)) as opened:
    ARRAYS = {name: opened.read(name) for name in opened.namelist()}


@fuzzed(100)
@given(damaged_archives(ARRAYS, "x.npy", "y.npy"))
def test_arrays(folder: Path, content: bytes) -> None:
    path = folder / "a.npz"
    path.write_bytes(content)
    read_or_refused(of_dataset(folder, npz="a.npz"))
    read_or_refused(lambda: load_examples(path))
    read_or_refused(lambda: load_samples(path))
    (folder / "scores.npz").write_bytes(content)
    read_or_refused(lambda: load_scores(folder))


@fuzzed()
@given(damaged((OLD / "samples.npz").read_bytes()))
def test_samples_of_a_bundle(folder: Path, content: bytes) -> None:
    (folder / "samples.npz").write_bytes(content)
    read_or_refused(lambda: load_samples(folder / "samples.npz"))


# --- Data sets ---


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


IDX = {
    "train-images-idx3-ubyte": idx(np.arange(20 * 12, dtype=np.uint8).reshape(20, 4, 3)),
    "train-labels-idx1-ubyte": idx(np.arange(20, dtype=np.uint8) % 2),
    "t10k-images-idx3-ubyte": idx(np.zeros((2, 4, 3), np.uint8)),
    "t10k-labels-idx1-ubyte": idx(np.arange(2, dtype=np.uint8)),
}


@st.composite
def damaged_idx(draw: st.DrawFn) -> dict[str, bytes]:
    name = draw(st.sampled_from(list(IDX)[:2]))
    way = draw(st.sampled_from(["plain", "packed before", "packed after"]))
    if way == "packed after":
        return IDX | {name: gzip.compress(draw(damaged(IDX[name])), mtime=0)}
    whole = IDX[name] if way == "plain" else gzip.compress(IDX[name], mtime=0)
    return IDX | {name: draw(damaged(whole))}


@fuzzed(75)
@given(damaged_idx())
def test_idx_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    read_or_refused(of_dataset(folder, idx="."))


def tar(files: dict[str, bytes], mode: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name, each in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(each)
            archive.addfile(member, io.BytesIO(each))
    return content.getvalue()


ROWS = np.tile(np.arange(10, dtype=np.uint8)[:, None], (1, 3073)).tobytes()
CIFAR = {"data_batch_1.bin": ROWS * 2, "test_batch.bin": ROWS}


@fuzzed(50)
@given(st.one_of(*(damaged(tar(CIFAR, mode)) for mode in ("w", "w:gz", "w:bz2", "w:xz"))))
def test_tar_archives(folder: Path, content: bytes) -> None:
    (folder / "cifar.tar").write_bytes(content)
    read_or_refused(of_dataset(folder, cifar10="cifar.tar"))


IMAGE = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
IMAGES = [
    content_of(lambda f, kind=kind: IMAGE.save(f, kind)) for kind in ("PNG", "JPEG", "GIF", "BMP")
]


@fuzzed(75)
@given(st.one_of(*map(damaged, IMAGES)))
def test_images(folder: Path, content: bytes) -> None:
    for name in ("cat", "dog"):
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        for number in range(4):
            (folder / "images" / name / f"{number}.png").write_bytes(IMAGES[0])
    (folder / "images" / "dog" / "4.png").write_bytes(content)
    read_or_refused(of_dataset(folder, image_folder="images", image_size=(8, 8)))


# --- Models ---


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The members of model files, by the files' names."""
    keras.utils.set_random_seed(0)
    place = tmp_path_factory.mktemp("models")
    inputs = keras.Input((4, 4, 1), name="x")
    x = layers.Conv2D(2, 3, name="conv", activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="dense")(layers.Flatten(name="flat")(x)))
    model.compile("sgd", "mse")
    model.save(place / "net.keras")
    model.layers[1].kernel.assign(np.zeros((3, 3, 1, 2)))
    write_packed(place / "model.packed", model, {})
    return {name: members_of(place / name) for name in ("net.keras", "model.packed")}


OLDER = Path(__file__).parents[1] / "older_keras" / "files"


@fuzzed()
@given(damaged((OLDER / "words.h5").read_bytes()))
def test_files_of_keras_2(folder: Path, content: bytes) -> None:
    (folder / "net.h5").write_bytes(content)
    read_or_refused(lambda: load_model(folder / "net.h5"))


@fuzzed()
@given(data=st.data())
def test_saved_models_of_keras_2(folder: Path, data: st.DataObject) -> None:
    path = folder / "saved"
    shutil.copytree(OLDER / "images", path, dirs_exist_ok=True)
    file = data.draw(st.sampled_from(sorted(each for each in path.rglob("*") if each.is_file())))
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    read_or_refused(lambda: load_model(path))


LOADS = {"net.keras": load_model, "model.packed": load_packed}


@fuzzed(40)
@given(data=st.data(), name=st.sampled_from(list(LOADS)))
def test_model_files(
    folder: Path, model_files: dict[str, dict[str, bytes]], data: st.DataObject, name: str
) -> None:
    members = model_files[name]
    (folder / name).write_bytes(data.draw(damaged_archives(members, *members)))
    read_or_refused(lambda: LOADS[name](folder / name))


@st.composite
def changed_json(draw: st.DrawFn, document: object) -> object:
    """A document with one of its values another, of a kind that does not belong there."""
    if isinstance(document, dict | list) and document and draw(st.integers(0, 4)):
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        key = draw(st.sampled_from(keys))
        changed = document.copy()
        changed[key] = draw(changed_json(document[key]))  # type: ignore[index]
        return changed
    values = [None, True, -1, 0, 1e308, 10**30, "", "x", "../x", [], [[]], {}, {"class_name": "Dense"}]
    return draw(st.sampled_from(values))


@fuzzed(60)
@given(data=st.data(), name=st.sampled_from(list(LOADS)))
def test_configurations_of_models(
    folder: Path, model_files: dict[str, dict[str, bytes]], data: st.DataObject, name: str
) -> None:
    members = model_files[name]
    config = data.draw(changed_json(json.loads(members["config.json"])))
    zipped(folder / name, members | {"config.json": json.dumps(config).encode()})
    read_or_refused(lambda: LOADS[name](folder / name))


@fuzzed(60)
@given(data=st.data())
def test_headers_of_packed_models(
    folder: Path, model_files: dict[str, dict[str, bytes]], data: st.DataObject
) -> None:
    members = model_files["model.packed"]
    header = data.draw(changed_json(json.loads(members["packed.json"])))
    zipped(folder / "model.packed", members | {"packed.json": json.dumps(header).encode()})
    read_or_refused(lambda: load_packed(folder / "model.packed"))


@fuzzed(100)
@given(changed_json(json.loads((OLD / "bundle.json").read_text("utf-8"))))
def test_facts_of_a_bundle(folder: Path, document: object) -> None:
    (folder / "bundle.json").write_text(json.dumps(document), "utf-8")
    read_or_refused(lambda: load_facts(folder))
