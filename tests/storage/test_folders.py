"""Folders on an S3 server are whole or absent, whatever happens on the way."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest

from pocketkube.errors import UserError
from pocketkube.storage import fetch_folder, parse_uri, refuse_unwritable, send_folder
from tests.storage.gateway import BUCKET, Gateway

BUNDLE = {"model.keras": b"weights", "bundle.json": b"{}", "plots/loss.svg": b"<svg/>", "empty": b""}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def place(request: pytest.FixtureRequest, end: str = ""):
    """A place on the server that no other test uses."""
    return parse_uri(f"s3://{BUCKET}/{request.node.name.replace('[', '/').rstrip(']')}{end}")


@pytest.fixture
def sent(s3: Gateway, tmp_path: Path, request: pytest.FixtureRequest):
    """A bundle that was sent: its place, and the folder in which the server keeps its objects."""
    there = place(request)
    send_folder(write(tmp_path / "sent", BUNDLE), there)
    return there, s3.objects / there.key


def refused(there, folder: Path) -> str:
    """The one line that says why nothing was fetched; an older folder stays as it was."""
    before = files_of(folder)
    with pytest.raises(UserError) as caught:
        fetch_folder(there, folder)
    assert str(there) in str(caught.value)
    assert files_of(folder) == before
    assert not list(folder.parent.glob(f".{folder.name}*"))
    return str(caught.value)


def test_a_folder_comes_back_as_it_was_sent(sent, tmp_path: Path) -> None:
    there, objects = sent
    fetch_folder(there, write(tmp_path / "back", {"older": b"1"}))
    assert files_of(tmp_path / "back") == BUNDLE
    # People find each file under its own name, and what it should be.
    assert (objects / "model.keras").read_bytes() == b"weights"
    listed = {f["name"]: f for f in json.loads((objects / "checksums.json").read_text())["files"]}
    assert set(listed) == set(BUNDLE)
    assert listed["model.keras"]["size_bytes"] == 7
    assert listed["model.keras"]["sha256"] == hashlib.sha256(b"weights").hexdigest()


def test_a_file_of_several_parts_comes_back(s3: Gateway, tmp_path: Path, request, capfd) -> None:
    data = os.urandom(1 << 20) * 40 + b"end"
    there = place(request)
    send_folder(write(tmp_path / "large", {"model.keras": data}), there)
    fetch_folder(there, tmp_path / "back")
    assert files_of(tmp_path / "back") == {"model.keras": data}
    said = capfd.readouterr().err
    assert f"stage=send byte={len(data)}/{len(data)}" in said
    assert f"stage=fetch byte={len(data)}/{len(data)}" in said


def test_sending_anew_leaves_nothing_of_the_old(sent, tmp_path: Path) -> None:
    there, objects = sent
    new = {"model.keras": b"other weights", "model.packed": b"packed"}
    send_folder(write(tmp_path / "new", new), there)
    fetch_folder(there, tmp_path / "back")
    assert files_of(tmp_path / "back") == new
    assert set(files_of(objects)) == {*new, "checksums.json"}


def test_a_place_beside_it_with_a_longer_name_is_left_alone(sent, tmp_path: Path, request) -> None:
    there, _ = sent
    beside = place(request, "2")
    send_folder(write(tmp_path / "beside", {"a": b"1"}), beside)
    send_folder(write(tmp_path / "new", {"b": b"2"}), there)
    fetch_folder(beside, tmp_path / "back")
    assert files_of(tmp_path / "back") == {"a": b"1"}


def test_others_objects_are_not_overwritten(s3: Gateway, tmp_path: Path, request) -> None:
    there = place(request)
    theirs = write(s3.objects / there.key, {"photos/cat.png": b"cat"})
    for attempt in (refuse_unwritable, lambda to: send_folder(write(tmp_path / "a", BUNDLE), to)):
        with pytest.raises(UserError, match=r"photos/cat\.png is there"):
            attempt(there)
    assert files_of(theirs) == {"photos/cat.png": b"cat"}


def test_asking_whether_it_can_be_written_leaves_nothing(s3: Gateway, tmp_path: Path, request) -> None:
    there = place(request)
    refuse_unwritable(there)
    assert not files_of(s3.objects / there.key)
    assert "is not there" in refused(there, tmp_path / "back")


@pytest.mark.parametrize("overwriting", [False, True])
def test_a_killed_upload_is_absent_and_can_be_done_again(
    s3: Gateway, tmp_path: Path, request, overwriting: bool
) -> None:
    there = place(request)
    objects = s3.objects / there.key
    if overwriting:
        send_folder(write(tmp_path / "old", {"old": b"1"}), there)
    many = write(tmp_path / "many", {f"part{i:04}": b"x" * i for i in range(2000)})
    script = (
        "import sys; from pathlib import Path; from pocketkube.storage import *; "
        "send_folder(Path(sys.argv[1]), parse_uri(sys.argv[2]))"
    )
    sender = subprocess.Popen([sys.executable, "-c", script, str(many), str(there)])
    while not (objects / "part0003").exists() and sender.poll() is None:
        time.sleep(0.001)
    sender.send_signal(signal.SIGKILL)
    assert sender.wait() == -signal.SIGKILL
    assert "is incomplete: the stage that writes it was interrupted" in refused(
        there, tmp_path / "back"
    )
    refuse_unwritable(there)
    send_folder(write(tmp_path / "again", BUNDLE), there)
    fetch_folder(there, tmp_path / "back")
    assert files_of(tmp_path / "back") == BUNDLE
    assert set(files_of(objects)) == {*BUNDLE, "checksums.json"}


def test_a_damaged_object(sent, tmp_path: Path) -> None:
    there, objects = sent
    (objects / "model.keras").write_bytes(b"weighty")
    line = refused(there, write(tmp_path / "back", {"older": b"1"}))
    assert "model.keras has another SHA-256 than it should have" in line


@pytest.mark.parametrize("data", [b"weight", b"weights and more"])
def test_an_object_of_another_size(sent, tmp_path: Path, data: bytes) -> None:
    there, objects = sent
    (objects / "model.keras").write_bytes(data)
    assert "model.keras has not the 7 bytes that it should have" in refused(there, tmp_path / "back")


def test_a_missing_object(sent, tmp_path: Path) -> None:
    there, objects = sent
    (objects / "bundle.json").unlink()
    assert "bundle.json is missing" in refused(there, tmp_path / "back")


def test_a_missing_list(sent, tmp_path: Path) -> None:
    there, objects = sent
    (objects / "checksums.json").unlink()
    line = refused(there, tmp_path / "back")
    assert "incomplete" in line
    assert "no checksums.json" in line


def test_nothing_there(s3: Gateway, tmp_path: Path, request) -> None:
    assert "is not there" in refused(place(request), tmp_path / "back")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/etc/passwd", "absolute"),
        ("../outside", r".."),
        ("a/../../outside", r".."),
        ("./a", r".."),
        ("a//b", "nothing between two slashes"),
        ("a/", "nothing between two slashes"),
        ("", "nothing between two slashes"),
        ("a\\..\\b", "backslash"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("x" * 300, "too long"),
        ("checksums.json", "kept for what PocketKube writes"),
    ],
)
def test_names_that_lead_elsewhere(s3: Gateway, tmp_path: Path, request, name: str, said: str) -> None:
    there = parse_uri(f"s3://{BUCKET}/names/{hashlib.sha256(name.encode()).hexdigest()}")
    file = {"name": name, "size_bytes": 1, "sha256": hashlib.sha256(b"1").hexdigest()}
    listed = json.dumps({"files": [file]}).encode()
    write(s3.objects / there.key, {"checksums.json": listed})
    line = refused(there, tmp_path / "back")
    assert "is no list of files that can be trusted" in line
    assert said in line
    assert "\n" not in line
    with pytest.raises(UserError, match="can be trusted"):
        send_folder(write(tmp_path / "new", {"a": b"1"}), there)


@pytest.mark.parametrize(
    "listed",
    [
        b"",
        b"[]",
        b'{"files": 3}',
        b'{"files": [{"name": "a", "size_bytes": -1, "sha256": "00"}]}',
        b'{"files": [' + b'{"name": "a", "size_bytes": 1, "sha256": "' + b"0" * 64 + b'"},' * 2 + b"]}",
        b'{"files": [%s, %s]}'
        % tuple(
            b'{"name": "%s", "size_bytes": 1, "sha256": "%s"}' % (n, b"0" * 64) for n in (b"a", b"a/b")
        ),
    ],
    ids=["empty", "array", "number", "negative", "broken", "file-and-folder"],
)
def test_lists_that_are_none(s3: Gateway, tmp_path: Path, request, listed: bytes) -> None:
    there = place(request)
    write(s3.objects / there.key, {"checksums.json": listed})
    assert "is no list of files that can be trusted" in refused(there, tmp_path / "back")


def test_readers_beside_a_writer_get_one_of_its_folders_or_an_error(
    s3: Gateway, tmp_path: Path, request
) -> None:
    there = place(request)
    names = [f"file{i}" for i in range(6)]
    both = [dict.fromkeys(names, letter * 100_000) for letter in (b"a", b"b")]
    folders = [write(tmp_path / str(number), files) for number, files in enumerate(both)]
    send_folder(folders[0], there)
    done = Event()

    def keep_writing() -> None:
        while not done.is_set():
            for folder in folders[::-1]:
                send_folder(folder, there)

    writer = Thread(target=keep_writing)
    writer.start()
    refusals = 0
    try:
        for _ in range(40):
            try:
                fetch_folder(there, tmp_path / "back")
            except UserError:
                refusals += 1
            else:
                assert files_of(tmp_path / "back") in both
                shutil.rmtree(tmp_path / "back")
            assert not (tmp_path / "back").exists()
    finally:
        done.set()
        writer.join()
    assert refusals


@pytest.mark.parametrize("files", [None, {}], ids=["missing", "empty"])
def test_nothing_to_send_leaves_what_is_there(sent, tmp_path: Path, files) -> None:
    there, _ = sent
    folder = tmp_path / "none"
    if files is not None:
        folder.mkdir()
    with pytest.raises(UserError, match="none has no files"):
        send_folder(folder, there)
    fetch_folder(there, tmp_path / "back")
    assert files_of(tmp_path / "back") == BUNDLE


def test_a_name_too_long_for_s3_leaves_what_is_there(s3: Gateway, tmp_path: Path) -> None:
    there = parse_uri(f"s3://{BUCKET}/" + "/".join(["long" * 50] * 4))
    send_folder(write(tmp_path / "old", {"a": b"1"}), there)
    with pytest.raises(UserError, match="1024 bytes that S3 allows"):
        send_folder(write(tmp_path / "new", {"b" * 130 + "/" + "c" * 130: b"2"}), there)
    fetch_folder(there, tmp_path / "back")
    assert files_of(tmp_path / "back") == {"a": b"1"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is a device that is always full")
def test_a_full_disk(sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, _ = sent
    opened = Path.open

    def on_a_full_disk(path: Path, mode: str = "r", *options):
        return opened(Path("/dev/full") if mode == "r+b" else path, mode, *options)

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    line = refused(there, tmp_path / "back")
    assert "does not fit on the disk" in line
    assert "TMPDIR" in line
