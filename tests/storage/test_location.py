"""Data and models are read from s3:// addresses as from paths, through a bounded cache of downloads."""

import gc
import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from pocketkube.bundle import load_bundle
from pocketkube.cli import main
from pocketkube.data import Dataset, load_dataset
from pocketkube.data.batches import materialize
from pocketkube.data.reading import read
from pocketkube.errors import DataError, UserError
from pocketkube.spec.sections import DatasetSettings
from pocketkube.stages.call import StageCall, config_of
from pocketkube.stages.parts import checked_parts
from pocketkube.stages.run import run_stage
from pocketkube.storage import ABSENT, parse_location, parse_uri, send_folder
from pocketkube.storage.server import connect
from tests.storage.gateway import BUCKET, Gateway, free_port
from tests.storage.test_folders import files_of, write

RNG = np.random.default_rng(3)


@pytest.fixture
def there(s3: Gateway, request: pytest.FixtureRequest) -> str:
    """A place on the server that no other test uses."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    return f"s3://{BUCKET}/locations/{name}"


def put(source: Path, uri: str) -> None:
    """Sends a file or a folder's files, as any other program does."""
    address = parse_uri(uri)
    client = connect(address).client
    for file in [source] if source.is_file() else [f for f in source.rglob("*") if f.is_file()]:
        end = "" if file == source else f"/{file.relative_to(source).as_posix()}"
        client.fput_object(BUCKET, address.key + end, str(file))


def file_of(folder: Path, data: bytes) -> Path:
    return write(folder, {"file": data}) / "file"


def fetch(uri: str) -> bytes:
    with parse_location(uri).fetched() as path:
        return path.read_bytes()


def refused(uri: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_location(uri).fetch()
    assert uri in str(caught.value)
    return str(caught.value)


def reads(s3: Gateway, key: str) -> int:
    return sum("s3_GetObject" in line and key in line for line in s3.log.read_text().splitlines())


# --- Data sets ---


def npz(folder: Path) -> str:
    np.savez(folder / "data.npz", x=RNG.normal(size=(40, 4)), y=np.arange(40) % 2)
    return "data.npz"


def idx(folder: Path) -> str:
    for part, count in (("train", 20), ("t10k", 8)):
        images = RNG.integers(0, 255, (count, 4, 4), np.uint8)
        head = bytes((0, 0, 8, 3)) + np.array(images.shape, ">u4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = bytes((0, 0, 8, 1)) + np.array([count], ">u4").tobytes()
        labels = head + (np.arange(count) % 2).astype(np.uint8).tobytes()
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return "."


def cifar(folder: Path) -> str:
    for name, coarse in (("train.bin", 1), ("test.bin", 1)):
        rows = RNG.integers(0, 20, (30, 3072 + 1 + coarse), np.uint8)
        (folder / name).write_bytes(rows.tobytes())
    return "."


def cifar10(folder: Path) -> str:
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (folder / name).write_bytes(RNG.integers(0, 10, (30, 3073), np.uint8).tobytes())
    return "."


def image_folder(folder: Path) -> str:
    for name in ("cat", "dog"):
        (folder / "pets" / name).mkdir(parents=True)
        for number in range(12):
            pixels = RNG.integers(0, 255, (4, 4, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "pets" / name / f"{number}.png")
    return "pets"


def tfrecord(folder: Path, per_file: int = 20) -> str:
    # Which records are held out follows from their bytes: the same whatever drew numbers before.
    rng = np.random.default_rng(0)
    for number in range(3):
        with tf.io.TFRecordWriter(str(folder / f"train-{number}")) as writer:
            for label in range(per_file):
                image = tf.io.encode_png(rng.integers(0, 255, (4, 4, 3), np.uint8)).numpy()
                features = {
                    "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                    "image/class/label": tf.train.Feature(
                        int64_list=tf.train.Int64List(value=[label % 2])
                    ),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
    return "train-*"


KINDS = {
    "npz": npz,
    "idx": idx,
    "cifar10": cifar10,
    "cifar100": cifar,
    "image_folder": image_folder,
    "tfrecord": tfrecord,
}


def arrays(dataset: Dataset) -> list[np.ndarray]:
    parts = (dataset.train, dataset.validation, dataset.test)
    return [array for part in parts for side in materialize(part, None, 0) for array in side]


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_on_a_server_is_the_one_in_a_folder(there: str, tmp_path: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    where = KINDS[kind](tmp_path / "data")
    put(tmp_path / "data", there)
    local = load_dataset(DatasetSettings(**{kind: where}), tmp_path / "data")
    remote = load_dataset(DatasetSettings(**{kind: f"{there}/{where}".removesuffix("/.")}))
    for ours, theirs in zip(arrays(local), arrays(remote), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert kind.startswith("cifar") or remote.name.startswith(there)


def test_a_broken_file_is_called_by_its_address(there: str, tmp_path: Path) -> None:
    put(file_of(tmp_path, b"PK\x03\x04 cut short"), f"{there}/data.npz")
    with pytest.raises(UserError, match="is not a readable") as caught:
        load_dataset(DatasetSettings(npz=f"{there}/data.npz"))
    assert f"{there}/data.npz" in str(caught.value)
    assert "cache" not in str(caught.value)


def test_a_bad_image_of_a_folder_is_called_by_its_address(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who mends the copy of a download has other data from then on than the server has."""
    (tmp_path / "data").mkdir()
    folder = tmp_path / "data" / image_folder(tmp_path / "data")
    (folder / "cat" / "x.png").write_bytes(b"no image")
    put(folder, there)
    with pytest.raises(DataError, match="is not a readable image") as caught:
        load_dataset(DatasetSettings(image_folder=there))
    assert str(caught.value).startswith(f"{there}/cat/x.png: ")
    (left_out,) = load_dataset(DatasetSettings(image_folder=there, on_bad_example="skip")).left_out
    assert f"the first: {there}/cat/x.png: is not" in left_out
    # What is larger is decoded when it is needed.
    monkeypatch.setattr("pocketkube.data.image_folder._IN_MEMORY_BYTES", 0)
    broken = (folder / "cat" / "0.png").read_bytes()[:-20]
    for file in folder.glob("*/*.png"):
        file.write_bytes(broken)
    put(folder, f"{there}-broken")
    dataset = load_dataset(DatasetSettings(image_folder=f"{there}-broken"))
    with pytest.raises(DataError, match="cannot be decoded") as caught:
        list(read(dataset.train.decoded(), dataset.train.explain))
    assert str(caught.value).startswith(f"{there}-broken/cat/")


def test_streamed_images_stay_as_long_as_they_are_read(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketkube.data.image_folder._IN_MEMORY_BYTES", 0)
    (tmp_path / "data").mkdir()
    put(tmp_path / "data" / image_folder(tmp_path / "data"), there)
    put(file_of(tmp_path / "other", b"1"), f"{there}-other")
    dataset = load_dataset(DatasetSettings(image_folder=there))
    monkeypatch.setenv("POCKETKUBE_DOWNLOADS_GB", "1e-9")
    assert "in use" in refused(f"{there}-other")
    assert len(list(dataset.train.decoded())) == dataset.train.size
    gc.disable()
    try:
        del dataset
        assert fetch(f"{there}-other") == b"1"
    finally:
        gc.enable()


def test_records_larger_than_the_cache_are_read_file_by_file(
    there: str, tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    tfrecord(tmp_path / "data")
    sizes = [file.stat().st_size for file in (tmp_path / "data").iterdir()]
    put(tmp_path / "data", there)
    monkeypatch.setenv("POCKETKUBE_DOWNLOADS_GB", str(2.1 * max(sizes) / 1e9))
    dataset = load_dataset(DatasetSettings(tfrecord=f"{there}/train-*"))
    assert dataset.train.size + dataset.validation.size + dataset.test.size == 60
    for _ in range(2):
        assert len(list(dataset.train.open())) == dataset.train.size
    assert sum(map(len, files_of(downloads).values())) < 2.2 * max(sizes)


def test_records_that_cannot_be_fetched_say_why(there: str, s3: Gateway, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    tfrecord(tmp_path / "data")
    put(tmp_path / "data", there)
    (s3.objects / parse_uri(there).key / "train-1").write_bytes(b"another")
    with pytest.raises(UserError, match="train-1 has"):
        load_dataset(DatasetSettings(tfrecord=f"{there}/train-*"))
    with pytest.raises(UserError, match="no file matches"):
        load_dataset(DatasetSettings(tfrecord=f"{there}/validation-*"))


# --- Patterns and stamps ---


@pytest.mark.parametrize(
    "pattern", ["a-*", "*", "*/a-1", "**/a-*", "a-[12]", "b/**/c", "b/a-1", "none-*", "**"]
)
def test_a_pattern_means_what_it_means_in_a_folder(there: str, tmp_path: Path, pattern: str) -> None:
    names = ("a-1", "a-2", "a-3", ".a-4", "b/a-1", "b/.hidden/a-1", "b/.d/c", "b/c", "b/d/c", "e")
    data = write(tmp_path / "data", dict.fromkeys(names, b"1"))
    put(data, there)
    local = [str(m) for m in parse_location(pattern, data).matches()]
    remote = [str(m) for m in parse_location(f"{there}/{pattern}").matches()]
    assert [m.removeprefix(f"{there}/") for m in remote] == [m.removeprefix(f"{data}/") for m in local]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("run [1]/a-*", ["run [1]/a-1", "run [1]/a-2"]),
        ("run [1]/b[1].records", ["run [1]/b[1].records"]),
        ("run [12]/a-*", ["run 1/a-1"]),
        ("**/a-2", ["run [1]/a-2"]),
        ("run [1]/none-*", []),
    ],
)
@pytest.mark.parametrize("on_server", [False, True])
def test_brackets_in_the_name_of_a_folder_or_a_file_are_no_pattern(
    there: str, tmp_path: Path, pattern: str, found: list[str], on_server: bool
) -> None:
    names = ("run [1]/a-1", "run [1]/a-2", "run [1]/b[1].records", "run [1]/b1.records", "run 1/a-1")
    data = write(tmp_path / "data [x]", dict.fromkeys(names, b"1"))
    if on_server:
        put(data, there)
    where = there if on_server else str(data)
    location = parse_location(f"{where}/{pattern}")
    assert [str(match) for match in location.matches()] == [f"{where}/{name}" for name in found]
    assert (location.stamp() == ABSENT) == (not found)


@pytest.mark.parametrize("on_server", [False, True])
def test_a_stamp_changes_with_what_is_there(there: str, tmp_path: Path, on_server: bool) -> None:
    folder = str(tmp_path / "data")

    def change(name: str, data: bytes) -> None:
        write(tmp_path / "data", {name: data})
        if on_server:
            put(tmp_path / "data" / name, f"{there}/{name}")

    def stamps() -> list[str]:
        where = there if on_server else folder
        return [parse_location(f"{where}{end}").stamp() for end in ("", "/a-1", "/a-*")]

    absent = stamps()
    change("a-1", b"1")
    first = stamps()
    assert first == stamps()
    assert not set(first) & set(absent)
    change("a-1", b"2")
    second = stamps()
    assert not set(first) & set(second)
    change("b", b"1")
    assert [old == new for old, new in zip(second, stamps(), strict=True)] == [False, True, True]


# --- Jobs ---


def test_a_job_from_a_server_runs_again_where_its_data_changed(there: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="relu"), layers.Dense(2)])
    net.save(tmp_path / "net.keras")
    put(tmp_path / "net.keras", f"{there}/net.keras")
    npz(tmp_path)
    put(tmp_path / "data.npz", f"{there}/data.npz")
    document = {"model": f"{there}/net.keras", "dataset": {"npz": f"{there}/data.npz"}}

    def ran() -> bool:
        config = config_of("train_model", document)
        call = StageCall("train_model", config, {}, str(tmp_path / "out"))
        return not run_stage(call, tmp_path / "kept").cached

    assert ran()
    loaded = load_bundle(tmp_path / "out").model
    np.testing.assert_array_equal(net.get_weights()[0], loaded.get_weights()[0])
    assert not ran()
    npz(tmp_path)
    put(tmp_path / "data.npz", f"{there}/data.npz")
    assert ran()
    assert not ran()
    # A file of the same weights differs by its date alone, and that has seconds.
    net.set_weights([weight + 1 for weight in net.get_weights()])
    net.save(tmp_path / "net.keras")
    put(tmp_path / "net.keras", f"{there}/net.keras")
    assert ran()


# --- The cache of downloads ---


def test_what_was_not_used_for_longest_goes(
    there: str, s3: Gateway, tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETKUBE_DOWNLOADS_GB", "0.00025")
    data = {name: os.urandom(100_000) for name in "abc"}
    put(write(tmp_path / "data", data), there)
    for name in "abac":
        assert fetch(f"{there}/{name}") == data[name]
        assert sum(map(len, files_of(downloads).values())) < 250_000
    assert {Path(name).name for name in files_of(downloads)} >= {"a", "c"}
    assert [reads(s3, f"{parse_uri(there).key}/{name}") for name in "abc"] == [1, 1, 1]
    assert fetch(f"{there}/b") == data["b"]
    assert reads(s3, f"{parse_uri(there).key}/b") == 2
    held = parse_location(f"{there}/b").fetch()
    other = parse_location(f"{there}/c").fetch()
    assert "0.00025 GB" in refused(f"{there}/a")
    assert (held.path.read_bytes(), other.path.read_bytes()) == (data["b"], data["c"])


def test_new_data_is_fetched_anew(there: str, tmp_path: Path) -> None:
    for data in (b"old", b"new"):
        put(file_of(tmp_path, data), there)
        assert fetch(there) == data


def test_one_object_is_read_by_its_name_and_as_the_one_of_its_folder(
    there: str, tmp_path: Path
) -> None:
    put(write(tmp_path, {"data/digits.npz": b"1"}), there)
    for _ in range(2):
        with parse_location(f"{there}/data").fetched() as folder:
            assert [path.name for path in folder.iterdir()] == ["digits.npz"]
        assert fetch(f"{there}/data/digits.npz") == b"1"


def test_a_damaged_download_is_refused(
    there: str, s3: Gateway, tmp_path: Path, downloads: Path
) -> None:
    put(file_of(tmp_path, b"weights"), there)
    good = (s3.objects / parse_uri(there).key).read_bytes()
    (s3.objects / parse_uri(there).key).write_bytes(b"weighty")
    assert "has another MD5 than it should have" in refused(there)
    assert not [name for name in files_of(downloads) if name != "room"]
    (s3.objects / parse_uri(there).key).write_bytes(good)
    assert fetch(there) == b"weights"


FETCH = (
    "import sys; from pocketkube.storage import ABSENT, parse_location\n"
    "with parse_location(sys.argv[1]).fetched() as path: print(len(path.read_bytes()))"
)


def test_processes_that_ask_at_once_fetch_once(there: str, s3: Gateway, tmp_path: Path) -> None:
    put(file_of(tmp_path, os.urandom(20 << 20)), there)
    command = [sys.executable, "-c", FETCH, there]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [each.communicate()[0].strip() for each in asking] == [str(20 << 20)] * 3
    assert reads(s3, parse_uri(there).key) == 1


def test_a_killed_download_is_begun_anew(there: str, tmp_path: Path, downloads: Path) -> None:
    put(file_of(tmp_path, b"1"), there)
    killed = "import os, signal; from pocketkube.storage import location, parse_location\n"
    killed += "location.download_all = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
    subprocess.run([sys.executable, "-c", f"{killed}parse_location({there!r}).fetch()"], check=False)
    assert list(downloads.glob("*.partial"))
    assert fetch(there) == b"1"
    assert not list(downloads.glob("*.partial"))


def test_a_bundle_is_complete_or_absent(there: str, s3: Gateway, tmp_path: Path) -> None:
    address = parse_uri(there)
    send_folder(write(tmp_path / "made", {"model.keras": b"1", "bundle.json": b"{}"}), address)
    with parse_location(there).fetched() as path:
        assert files_of(path) == {"model.keras": b"1", "bundle.json": b"{}"}
    (s3.objects / address.key / "checksums.json").rename(s3.objects / address.key / "unfinished.json")
    (s3.objects / address.key / "unfinished.json").write_text('{"writer": "w", "names": []}')
    assert "is incomplete: the stage that writes it" in refused(there)
    (s3.objects / address.key / "unfinished.json").unlink()
    with pytest.raises(UserError, match=r"no checksums\.json"):
        parse_location(there).fetch(sealed=True)


# --- What goes wrong ---


def test_one_line_says_what_is_wrong(
    there: str, s3: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "is not there" in refused(there)
    assert "there is no bucket nowhere" in refused("s3://nowhere/a")
    put(file_of(tmp_path, b"1"), there)
    monkeypatch.setenv("POCKETKUBE_DOWNLOADS_GB", "many")
    with pytest.raises(UserError, match="'many', but has to be a number of gigabytes"):
        parse_location(there).fetch()
    monkeypatch.delenv("POCKETKUBE_DOWNLOADS_GB")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(UserError, match="set XDG_CACHE_HOME or TMPDIR to one that can be written"):
        parse_location(there).fetch()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "AWS_SECRET_ACCESS_KEY is not set" in refused(there)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    assert "refuses access" in refused(there)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in refused(there)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "{there}"}, "model: there is no {there}"),
        ({"dataset": {"tfrecord": "{there}/train-*"}}, "dataset: there is no {there}/train-*"),
    ],
)
def test_what_a_job_lacks_on_a_server_is_told_before_its_first_stage(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, changes, said: str
) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("a stage was started")

    monkeypatch.setattr("pocketkube.stages.whole_job.run_stage", too_late)
    # The tests' own process keeps what it does about signals.
    monkeypatch.setattr("pocketkube.cli.ending.signal.signal", lambda *_: None)
    there = f"{there}.keras"
    job = {
        "model": "lenet",
        "dataset": "digits",
        "target": {"speedup": 2},
        "stages": ["prune_channels"],
    }
    text = json.dumps(job | changes).replace("{there}", there)
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert f"pocketkube: {said.format(there=there)}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a device that is always full")
def test_a_full_disk(there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(file_of(tmp_path, b"1"), there)
    opened = Path.open

    def on_a_full_disk(path: Path, mode: str = "r", *options, **named):
        return opened(Path("/dev/full") if mode == "r+b" else path, mode, *options, **named)

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    assert "does not fit on the disk" in refused(there)


@pytest.mark.parametrize("end", ["", "/", "/b/a.npz", "/*.npz", "/**/a.npz", "/[ab].npz"])
def test_what_is_there_has_a_stamp(there: str, tmp_path: Path, end: str) -> None:
    put(write(tmp_path / "f", {"a.npz": b"1", "b/a.npz": b"2"}), there)
    assert parse_location(there + end).stamp() != ABSENT
    assert parse_location(str(tmp_path / "f") + end).stamp() != ABSENT


@pytest.mark.parametrize("end", ["/c.npz", "/a", "/*.npy", "x", "/[cd].npz"])
def test_what_is_not_there_is_absent(there: str, tmp_path: Path, end: str) -> None:
    put(write(tmp_path / "f", {"a.npz": b"1", "b/a.npz": b"2"}), there)
    assert parse_location(there + end).stamp() == ABSENT
    assert parse_location(str(tmp_path / "f") + end).stamp() == ABSENT


def test_a_form_names_what_is_not_there(there: str, tmp_path: Path) -> None:
    put(write(tmp_path / "f", {"x.npz": b"1"}), there)
    form = {"dataset_kind": "npz", "dataset": f"{there}/x.npz"}
    (before, _), (again, _) = checked_parts(form), checked_parts(form)
    assert before.held == again.held != ""
    put(write(tmp_path / "g", {"x.npz": b"2"}), there)
    (after, _) = checked_parts(form)
    # Kubeflow's cache, too, has to see that.
    assert after == before._replace(held=after.held) != before
    with pytest.raises(UserError, match=f"^model: there is no {there}/net.keras$"):
        checked_parts(form | {"model": f"{there}/net.keras"})
    with pytest.raises(UserError, match=f"^dataset: there is no {there}/y.npz$"):
        checked_parts(form | {"dataset": f"{there}/y.npz"})
