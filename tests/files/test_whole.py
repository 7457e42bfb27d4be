"""Files and folders are whole or absent, whoever writes at once and whoever is killed at it."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pocketkube.errors import UserError
from pocketkube.files import whole as files
from pocketkube.files.held import HELD, OURS, held
from pocketkube.files.output_folder import LOCK, alone_in
from pocketkube.files.whole import added_folder, replaced_file, replaced_folder, write_text
from pocketkube.processes.linux import exchanged

# Writes a file, a folder and a temporary folder, is at it inside of an output folder, and is killed.
KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from pocketkube.files.whole import replaced_file, replaced_folder, temporary_folder
from pocketkube.files.held import HELD, OURS, held
from pocketkube.files.output_folder import alone_in
out = Path(sys.argv[1])
tempfile.tempdir = str(out / "tmp")
with (
    alone_in(out), temporary_folder() as t, replaced_file(out / "a.txt") as a,
    replaced_folder(out / "steps" / "b") as b, held(out / "steps" / f"{OURS}b.lease{HELD}", print),
):
    for file in (a, b / "one", t / "two"):
        file.write_text("half")
    print("writes", flush=True)
    signal.pause()
"""


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen]]:
    """An output folder, and a process that is in the middle of writing there."""
    (tmp_path / "tmp").mkdir()
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline()
    yield tmp_path, writer
    writer.kill()
    writer.wait()
    writer.stdout.close()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.name.startswith("."))


def test_what_a_killed_process_was_writing_is_swept_at_the_next_start(killed, monkeypatch) -> None:
    output, writer = killed
    monkeypatch.setattr("tempfile.tempdir", str(output / "tmp"))
    assert len(left(output)) == 8
    # Others that write beside it leave what a living process is at.
    before = left(output)
    write_text(output / "other.txt", "whole")
    with files.temporary_folder():
        pass
    assert left(output) == before
    with pytest.raises(UserError, match=rf"process {writer.pid} on .* writes there; wait for its end"):
        alone_in(output).__enter__()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    # Once in each process.
    files._sweep_once.cache_clear()
    with alone_in(output):
        with files.temporary_folder():
            pass
        assert left(output) == [LOCK]
    assert left(output) == []
    assert sorted(path.name for path in output.iterdir()) == ["other.txt", "steps", "tmp"]


def test_what_people_have_in_an_output_folder_stays(tmp_path: Path) -> None:
    for name in ("novel/.draft.writing/one", "x/.note.held", ".lock", ".held", "steps/.a.held"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("theirs")
    (tmp_path / f"{OURS}link{HELD}").symlink_to(tmp_path / ".lock")
    before = left(tmp_path)
    with alone_in(tmp_path):
        write_text(tmp_path / "result", "whole")
    assert left(tmp_path) == before
    assert (tmp_path / ".lock").read_text() == "theirs"


def unlocked(opened: int, how: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_where_there_are_no_locks_what_others_write_is_left(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("fcntl.flock", unlocked)
    with alone_in(tmp_path), replaced_folder(tmp_path / "stage") as folder:
        (folder / "one").write_text("half")
        with alone_in(tmp_path):
            write_text(tmp_path / "other.json", "{}")
        (folder / "one").write_text("whole")
    assert (tmp_path / "stage" / "one").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.json", "stage"]


@pytest.mark.parametrize(("hours", "stays"), [(1, True), (25, False)])
def test_what_another_host_left_is_swept_when_it_is_a_day_old(
    tmp_path: Path, hours: int, stays: bool
) -> None:
    file = tmp_path / f"{OURS}a.1{HELD}"
    file.write_text("process 1 on elsewhere since 12:30:05")
    file.with_suffix("").mkdir()
    then = time.time() - hours * 3600
    os.utime(file, (then, then))
    files.sweep(tmp_path)
    assert (file.exists(), file.with_suffix("").exists()) == (stays, stays)


def test_no_file_is_removed_while_it_is_open_in_its_folder(tmp_path: Path, monkeypatch) -> None:
    """NFS keeps such a file under another name, and with it the folder."""
    real, kept = os.unlink, []

    def unlink(name, *, dir_fd=None) -> None:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        for opened in list(Path("/proc/self/fd").iterdir()):
            with suppress(OSError):
                if os.path.samestat(status, os.fstat(int(opened.name))):
                    kept.append(Path(os.fsdecode(name)).parent)
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    write_text(tmp_path / "a.json", "{}")
    # The folder of the file itself stays in any case.
    assert set(kept) <= {tmp_path}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")


def as_user(number: int, work: Callable[[], object]) -> int:
    """Does something in a process of another user; its exit code, or the signal that ended it."""
    if (pid := os.fork()) == 0:
        code = 1
        try:
            os.setuid(number)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder into which all users may write."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@as_root
def test_what_another_user_left_held_keeps_nobody_away(open_to_all: Path) -> None:
    file = open_to_all / f"{OURS}model{HELD}"

    def die() -> None:
        with held(file, print):
            os.kill(os.getpid(), signal.SIGKILL)

    def hold() -> None:
        with held(file, print):
            pass

    assert as_user(1000, die) == -signal.SIGKILL
    assert file.stat().st_uid == 1000
    assert as_user(2000, hold) == 0
    assert not file.exists()


def test_a_file_that_cannot_be_held_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lease"
    file.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=f"Cannot write {file}: "), held(file, print):
        pass


def test_a_forked_process_holds_nothing_of_one_that_was_killed(tmp_path: Path) -> None:
    forked, tell = os.pipe()
    if (pid := os.fork()) == 0:
        with alone_in(tmp_path):
            if os.fork() == 0:
                os.write(tell, str(os.getpid()).encode())
                time.sleep(60)
                os._exit(0)
            signal.pause()
    child = int(os.read(forked, 20))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    try:
        with alone_in(tmp_path):
            assert psutil.pid_exists(child)
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(forked)
        os.close(tell)


def test_an_output_folder_into_which_nothing_was_written_is_gone_again(tmp_path: Path) -> None:
    with alone_in(tmp_path / "new" / "er"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"), alone_in(tmp_path / "file"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_that_waits_goes_on_when_the_other_has_ended(tmp_path: Path) -> None:
    met, order = threading.Event(), []

    def meets(holder: str) -> None:
        order.append(holder)
        met.set()

    def second() -> None:
        with held(tmp_path / "lease", meets):
            order.append("second")

    with held(tmp_path / "lease", meets):
        thread = threading.Thread(target=second)
        thread.start()
        assert met.wait(30)
        order.append("first")
    thread.join(30)
    assert [word.partition(" on ")[0] for word in order] == [
        f"process {os.getpid()}",
        "first",
        "second",
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exchanges", [True, False])
def test_folders_are_replaced_at_once_by_several(tmp_path: Path, monkeypatch, exchanges: bool) -> None:
    if not exchanges:
        monkeypatch.setattr(files, "exchanged", lambda one, other: False)
    for name in "ab":
        (tmp_path / name).mkdir()
    can_exchange = exchanged(tmp_path / "a", tmp_path / "b")
    for name in "ab":
        (tmp_path / name).rmdir()
    failed, seen, target = [], set(), tmp_path / "target"
    done = threading.Event()

    def replace(word: str) -> None:
        try:
            for _ in range(25):
                with replaced_folder(target) as folder:
                    (folder / "one").write_text(word)
                    (folder / "two").write_text(word)
        except Exception as error:
            failed.append(error)

    def look() -> None:
        while not done.is_set():
            seen.add(target.exists())

    with replaced_folder(target) as folder:
        (folder / "one").touch()
        (folder / "two").touch()
    watcher = threading.Thread(target=look)
    writers = [threading.Thread(target=replace, args=(word,)) for word in "abc"]
    for thread in (watcher, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    watcher.join()
    assert not failed
    assert len({(target / name).read_text() for name in ("one", "two")}) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    # Not for a moment is it away, where the file system can do that.
    assert not (exchanges and can_exchange) or seen == {True}


@pytest.mark.parametrize(
    ("umask", "of_file", "of_folder"), [(0o077, 0o600, 0o700), (0o022, 0o644, 0o755)]
)
def test_modes_are_what_the_umask_says(
    tmp_path: Path, umask: int, of_file: int, of_folder: int
) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.json", "{}")
        with replaced_folder(tmp_path / "folder") as folder:
            (folder / "b").touch()
        with added_folder(tmp_path / "added") as folder:
            (folder / "c").touch()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {
        **dict.fromkeys(("a.json", "b", "c"), of_file),
        **dict.fromkeys(("folder", "added"), of_folder),
    }


def test_what_is_renamed_was_flushed_before_and_its_folder_after(tmp_path: Path, monkeypatch) -> None:
    order: list[str] = []
    real_flush, real_replace = os.fsync, Path.replace

    def fsync(opened: int) -> None:
        order.append(f"flush {Path(f'/proc/self/fd/{opened}').readlink().name}")
        real_flush(opened)

    def replace(self: Path, target: Path) -> Path:
        order.append(f"rename {target.name}")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    with replaced_file(tmp_path / "a.txt") as aside:
        aside.write_text("whole")
    assert order == ["flush a.txt", "rename a.txt", f"flush {tmp_path.name}"]
    order.clear()
    with replaced_folder(tmp_path / "b") as folder:
        write_text(folder / "c", "whole")
        (folder / "link").symlink_to("nowhere")
        assert order == ["rename c"]
    assert order[1:] == ["flush c", "flush b", f"flush {tmp_path.name}"]
    order.clear()
    with files.temporary_folder() as folder:
        write_text(folder / "c", "not for long")
    assert order == ["rename c"]


def test_what_is_no_regular_file_is_written_to_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "told")
    assert os.read(reader, 10) == b"told"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_where_a_folder_is_to_be_made_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^Cannot write .*file/net.txt: a part of the path is a file"):
        write_text(tmp_path / "file" / "net.txt", "")
