"""Files and folders that are complete or absent: written aside, flushed to the disk, then renamed."""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

from pocketkube.files.held import HELD, OURS, held_anew, locked_if_abandoned
from pocketkube.plain_errors import in_words
from pocketkube.processes.linux import exchanged

_NAME_KEPT = 40


def place_of(text: str, base: Path) -> Path:
    """The place that a person's path names.

    Args:
        text: The path; ~ is the home folder, ~name another user's. Where there is no such user it is a
            name like any other.
        base: The folder that relative paths start from.
    """
    try:
        return base / Path(text).expanduser()
    except RuntimeError:
        return base / text


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder that takes `target`'s place when the block ends without an error.

    Of two that replace it at once the later one stays.

    Args:
        target: The folder to create or replace.

    Raises:
        UserError: If the disk is full or the place cannot be written.
    """
    with _writing(target), _beside(target) as place:
        aside = place / target.name
        aside.mkdir()
        yield aside
        flush(aside)
        _swap(aside, target)
        flush_entries(target.parent)


@contextmanager
def replaced_file(target: Path) -> Iterator[Path]:
    """Yields a path to write to that takes `target`'s place when the block ends without an error.

    Args:
        target: The file to create or replace. What is no regular file, as /dev/stdout, is written to.

    Raises:
        UserError: If the disk is full or the place cannot be written.
    """
    with _writing(target):
        if target.exists() and not (target.is_file() or target.is_dir()):
            yield target
            return
        with _beside(target) as place:
            # The name is kept: Keras and others choose the format by its ending.
            aside = place / target.name
            yield aside
            # Within what is written as a whole, that is flushed; what is temporary needs no care.
            is_within = any(part.startswith(OURS) for part in target.parts)
            if not is_within:
                flush(aside)
            aside.replace(target)
            if not is_within:
                flush_entries(target.parent)


def put_copy(source: Path, target: Path) -> None:
    """Puts a copy of a file or folder, which may be on another file system, in `target`'s place.

    Raises:
        UserError: If it cannot be written.
    """
    if source.is_dir():
        with replaced_folder(target) as aside:
            shutil.copytree(source, aside, dirs_exist_ok=True)
    else:
        with replaced_file(target) as aside:
            shutil.copyfile(source, aside)


@contextmanager
def added_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `target` when the block ends, where nothing stands there.

    Raises:
        FileExistsError: If something stands there by then.
        OSError: If the place cannot be written.
    """
    with _beside(target) as place:
        aside = place / target.name
        aside.mkdir()
        yield aside
        flush(aside)
        if not _took_free_place(aside, target):
            raise FileExistsError(errno.EEXIST, "something stands there", str(target))
        flush_entries(target.parent)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yields a folder for temporary files; if this process is killed, the next one here removes it.

    Raises:
        OSError: If there is no place for temporary files.
    """
    with _workplace(Path(tempfile.gettempdir()), "pocketkube") as place:
        folder = place / "files"
        folder.mkdir()
        yield folder


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(target: Path, text: str) -> None:
    """Writes `text` to `target` so that a reader sees the old file or the new, never a part."""
    with replaced_file(target) as aside:
        aside.write_text(text, encoding="utf-8")


def sweep(folder: Path) -> None:
    """Removes what killed processes were writing in a folder; what others are writing is left."""
    with suppress(OSError):
        names = os.listdir(folder)  # noqa: PTH208
        for name in names:
            if name.startswith(OURS) and name.endswith(HELD):
                _remove_abandoned(folder / name)


def flush(path: Path) -> None:
    """Waits until a file, or all of a folder, is on the disk."""
    if not path.is_dir():
        _fsync(path)
        return
    for folder, _, names in os.walk(path):
        for file in (Path(folder) / name for name in names):
            if stat.S_ISREG(file.lstat().st_mode):
                _fsync(file)
        flush_entries(Path(folder))


def flush_entries(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where its file system can say so."""
    with suppress(OSError):
        _fsync(folder)


def _fsync(path: Path) -> None:
    try:
        opened = os.open(path, os.O_RDONLY)
    except PermissionError:
        # Its mode forbids to wait for it.
        return
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _workplace(target.parent, target.name) as place:
        yield place


@contextmanager
def _workplace(parent: Path, name: str) -> Iterator[Path]:
    """A folder to write something of that name in, gone when the block ends."""
    _sweep_once(parent)
    place = parent / f"{OURS}{name[:_NAME_KEPT]}.{uuid4().hex[:12]}"
    # Beside it, and removed after it: NFS keeps a file in its folder for as long as it is open.
    with held_anew(place.with_name(f"{place.name}{HELD}")):
        place.mkdir(mode=0o700)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


@cache
def _sweep_once(folder: Path) -> None:
    sweep(folder)


def _remove_abandoned(file: Path) -> None:
    """Removes a file that a killed process has held, and the folder that it was to write in, if any."""
    with suppress(OSError):
        lock = locked_if_abandoned(file)
        if lock is None:
            return
        try:
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            file.unlink()
        finally:
            os.close(lock)


def _swap(aside: Path, target: Path) -> None:
    """Puts `aside` in `target`'s place in one step, whoever else does so meanwhile."""
    while not _took_free_place(aside, target):
        if exchanged(aside, target):
            return
        # This file system cannot: between two steps there is neither the old one nor the new.
        with suppress(FileNotFoundError):
            target.rename(Path(tempfile.mkdtemp(dir=aside.parent)) / target.name)


def _took_free_place(aside: Path, target: Path) -> bool:
    try:
        # Renaming replaces no folder that has files.
        aside.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if (meaning := in_words(error, target)) is not None:
            raise meaning from error
        raise
