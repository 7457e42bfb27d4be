"""TFRecords that are read from a server as they come: ahead of their turn, and whatever goes wrong."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Timer

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.data import Dataset, load_dataset
from pocketkube.data.batches import batches
from pocketkube.spec.sections import DatasetSettings, Training
from pocketkube.stages.configs import Learning
from pocketkube.stages.tasks import settled_task
from pocketkube.storage import fetch_folder, parse_uri, send_folder
from pocketkube.training.loop import train
from tests.storage.gateway import BUCKET, Gateway, free_port, running_gateway
from tests.storage.relay import Answer, Cut, Wrong, once, refusal, relay
from tests.storage.test_folders import files_of, write
from tests.storage.test_location import put, reads, tfrecord


@pytest.fixture
def there(s3: Gateway, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place on the server with three files of records, which are in tmp_path / "data", too."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    (tmp_path / "data").mkdir()
    tfrecord(tmp_path / "data")
    put(tmp_path / "data", f"s3://{BUCKET}/streams/{name}")
    return f"s3://{BUCKET}/streams/{name}"


@pytest.fixture
def two_files(there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound_cache(tmp_path / "data", monkeypatch)


def bound_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache with room for two of the files: each is fetched anew whenever it is read."""
    size_bytes = max(file.stat().st_size for file in folder.iterdir())
    monkeypatch.setenv("POCKETKUBE_DOWNLOADS_GB", str(2.1 * size_bytes / 1e9))


def load(where: str | Path) -> Dataset:
    return load_dataset(DatasetSettings(tfrecord=f"{where}/train-*"))


def epoch(dataset: Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for (x,), (y,) in batches(dataset.train, 8, epoch_seed=(3, 1)):
        yield x.numpy(), y.numpy()


def assert_same(dataset: Dataset, other: Dataset) -> None:
    for ours, theirs in zip(epoch(dataset), epoch(other), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def test_the_next_files_come_while_one_is_read(
    there: str, s3: Gateway, tmp_path: Path, downloads: Path
) -> None:
    dataset = load(there)
    for file in [*downloads.glob("*.lock"), *downloads.glob("*/*")]:
        file.unlink()
    for folder in downloads.glob("*/"):
        folder.rmdir()
    key = parse_uri(there).key
    before = [reads(s3, f"{key}/train-{number}") for number in range(3)]
    # Its buffers have no more than the first file.
    one = iter(dataset.train.open().take(1))
    next(one)
    assert until(lambda: all(reads(s3, f"{key}/train-{each}") == before[each] + 1 for each in range(3)))
    assert_same(dataset, load(tmp_path / "data"))
    assert [reads(s3, f"{key}/train-{each}") for each in range(3)] == [n + 1 for n in before]


@pytest.mark.usefixtures("two_files")
def test_what_has_no_room_comes_in_its_turn(there: str, s3: Gateway, tmp_path: Path) -> None:
    dataset = load(there)
    key = parse_uri(there).key
    list(dataset.train.open())
    before = [reads(s3, f"{key}/train-{number}") for number in range(3)]
    assert_same(dataset, load(tmp_path / "data"))
    assert [reads(s3, f"{key}/train-{each}") - before[each] for each in range(3)] == [1, 1, 1]


def spoilt(data: bytes) -> dict[str, Wrong]:
    whole = "application/octet-stream"
    return {
        "cut": Cut(len(data) // 2),
        "busy": refusal(503, "SlowDown"),
        "truncated": Answer(200, data[: len(data) // 2], whole),
        "corrupted": Answer(200, data[:99] + bytes([data[99] ^ 255]) + data[100:], whole),
        "error": Answer(500, b"", "text/plain"),
    }


@pytest.mark.usefixtures("two_files")
@pytest.mark.parametrize("kind", list(spoilt(bytes(100))))
def test_records_are_the_same_whatever_goes_wrong_on_the_way(
    there: str, s3: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    local = load(tmp_path / "data")
    wrong = spoilt((tmp_path / "data" / "train-1").read_bytes())[kind]
    met = list[str]()
    fault = once("GET", "train-1", wrong)

    def noted(method: str, path: str) -> Wrong | None:
        found = fault(method, path) if armed else None
        met.extend([path] if found else [])
        return found

    armed = False
    with relay(s3, noted) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        dataset = load(there)
        armed = True
        assert_same(dataset, local)
    assert len(met) == 1


def test_a_large_object_comes_in_parts(
    s3: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketkube.storage.objects.PART_BYTES", 1 << 20)
    files = {"large": os.urandom(5 << 20) + b"rest", "small": b"1", "empty": b""}
    place = parse_uri(f"s3://{BUCKET}/streams/parts")
    send_folder(write(tmp_path / "sent", files), place)
    with relay(s3, once("GET", "parts/large", Cut(300_000))) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        fetch_folder(place, tmp_path / "back")
    assert files_of(tmp_path / "back") == files
    assert reads(s3, "streams/parts/large") == 6 + 1
    assert reads(s3, "streams/parts/small") == reads(s3, "streams/parts/empty") == 1


def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(2)])


def trained(dataset: Dataset, on_epoch: Callable[[object], None] = lambda _: None) -> list[np.ndarray]:
    model = net()
    settings = Training(epochs=3, batch_size=8, keep="last")
    task = settled_task(Learning(), model, dataset)
    train(model, dataset, task, settings, seed=0, on_epoch=lambda epoch: on_epoch(epoch))
    return model.get_weights()


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("seconds", [2.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_training_waits_for_a_server_that_is_away(
    versitygw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    seconds: float,
) -> None:
    if seconds < 60:
        monkeypatch.setattr("pocketkube.storage.patience.PAUSES_S", (0.5,) * 20)
        monkeypatch.setattr("pocketkube.storage.server.KNOCK", False)
    (tmp_path / "data").mkdir()
    tfrecord(tmp_path / "data")
    bound_cache(tmp_path / "data", monkeypatch)
    port, away = free_port(), list[Timer]()
    with ExitStack() as first, ExitStack() as second:

        def start(life: ExitStack) -> Gateway:
            return life.enter_context(running_gateway(versitygw, tmp_path / "gateway", port=port))

        def goes_away(epoch: object) -> None:
            if not away:
                first.close()
                away.append(Timer(seconds, start, [second]))
                away[0].start()

        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", start(first).endpoint)
        put(tmp_path / "data", f"s3://{BUCKET}/outage")
        found = trained(load(f"s3://{BUCKET}/outage"), goes_away)
        away[0].join()
    assert "cannot be reached" in capfd.readouterr().err
    for ours, theirs in zip(found, trained(load(tmp_path / "data")), strict=True):
        np.testing.assert_array_equal(ours, theirs)
