"""A bounded folder of downloads that all processes of a machine share.

Each entry is a folder with a lock file beside it. The lock file holds the entry's size in bytes, the
time of its last change is that of the entry's last use, and it is locked (flock) for as long as one
process fills the entry or several read it. A process that dies lets go of its locks.
"""

import errno
import gc
import hashlib
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files.held import NO_LOCKS, locked, locked_now
from pocketkube.files.whole import flush, flush_entries

LIMIT_GB = "POCKETKUBE_DOWNLOADS_GB"
DEFAULT_LIMIT_GB = 20.0
_GB = 1e9
PLACES = "s3:// places and trained SentencePiece models"


class Held:
    """A download that stays where it is until it is closed, or nobody holds this any more.

    Attributes:
        folder: The entry's folder; nothing may be written into it.
    """

    def __init__(self, folder: Path, lock: int):
        self.folder = folder
        self.close = weakref.finalize(self, os.close, lock)


def hold(identity: str, what: str, size_bytes: int, fill: Callable[[Path], None]) -> Held:
    """Finds a download in the cache, or makes it; processes that ask at once make it once.

    Those that were not used for longest are removed where the limit or the disk asks for it, but never
    one that is held.

    Args:
        identity: Tells it from all others, versions of the same data among them.
        what: What it is, for messages.
        size_bytes: How large it will be.
        fill: Writes it into an empty folder; what it raises leaves nothing behind.

    Raises:
        UserError: If there is no room for it, or the cache's folder cannot be written.
    """
    root = _root()
    folder = root / hashlib.sha256(identity.encode()).hexdigest()[:32]
    lock_file = folder.with_suffix(".lock")
    with _plain_disk_failures(root, what):
        while True:
            lock = locked(lock_file, shared=True)
            if folder.is_dir():
                _note_use(lock_file)
                return Held(folder, lock)
            os.close(lock)
            lock = locked(lock_file)
            try:
                if not folder.is_dir():
                    _make_room(root, lock_file, what, size_bytes)
                    _fill(folder, fill)
            except BaseException:
                lock_file.unlink()
                raise
            finally:
                os.close(lock)


def limit_bytes() -> float:
    """How large all downloads together may be, as the environment says.

    Raises:
        UserError: If it says no number.
    """
    told = os.environ.get(LIMIT_GB) or str(DEFAULT_LIMIT_GB)
    try:
        limit = float(told)
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise UserError(f"{LIMIT_GB} is {told!r}, but has to be a number of gigabytes, as in 20.")
    return limit * _GB


def _fill(folder: Path, fill: Callable[[Path], None]) -> None:
    partial = _partial(folder)
    # Of a process that was killed at it.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        fill(partial)
        flush(partial)
        partial.replace(folder)
        flush_entries(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _make_room(root: Path, lock_file: Path, what: str, size_bytes: int) -> None:
    """Removes what was not used for longest until there is room, and says that the room is taken."""
    limit, free = limit_bytes(), shutil.disk_usage(root).free
    alone = locked(root / "room")
    try:
        others = {file: _size(file) for file in root.glob("*.lock") if file != lock_file}
        used = sum(others.values())
        if used + size_bytes > limit or size_bytes > free:
            # A failure that a library has caught may hold what was read around it until then.
            gc.collect()
        for file in sorted(others, key=_last_use):
            if used + size_bytes <= limit and size_bytes <= free:
                break
            if _remove_unless_held(file):
                used -= others[file]
                free += others[file]
        if used + size_bytes > limit:
            raise UserError(
                f"{what}: its {size_bytes / _GB:.3g} GB do not fit beside {used / _GB:.3g} GB that are "
                f"in use into the {limit / _GB:.3g} GB for downloads in {root}; allow more with "
                f"{LIMIT_GB}."
            )
        if size_bytes > free:
            raise _disk_is_full(root, what)
        lock_file.write_text(str(size_bytes))
    finally:
        os.close(alone)


def _remove_unless_held(lock_file: Path) -> bool:
    lock = locked_now(lock_file)
    if lock is None:
        return False
    try:
        folder = lock_file.with_suffix("")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(_partial(folder), ignore_errors=True)
        lock_file.unlink(missing_ok=True)
        return True
    finally:
        os.close(lock)


def _partial(folder: Path) -> Path:
    return folder.with_suffix(".partial")


def _size(lock_file: Path) -> int:
    with suppress(FileNotFoundError, ValueError):
        return int(lock_file.read_text())
    return 0


def _note_use(lock_file: Path) -> None:
    # The kernel's own stamp moves only every few milliseconds: uses in between would tie.
    now = time.time_ns()
    os.utime(lock_file, ns=(now, now))


def _last_use(lock_file: Path) -> int:
    with suppress(FileNotFoundError):
        return lock_file.stat().st_mtime_ns
    return 0


def _root() -> Path:
    """The cache's folder, which is the user's own: others could put models there."""
    home = os.environ.get("XDG_CACHE_HOME")
    own = (
        Path(home) / "pocketkube" if home else Path(tempfile.gettempdir()) / f"pocketkube-{os.getuid()}"
    )
    root = own / "downloads"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if own.stat().st_uid != os.getuid():
            raise PermissionError(errno.EACCES, "it is somebody else's")
    except OSError as error:
        raise UserError(
            f"{PLACES} need a folder of the user's own, and {root} is none: {error.strerror}; set "
            "XDG_CACHE_HOME or TMPDIR to one that can be written, in a container an emptyDir."
        ) from error
    return root


@contextmanager
def _plain_disk_failures(root: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_is_full(root, what) from error
        if error.errno in NO_LOCKS:
            raise UserError(
                f"{PLACES} need a folder whose file system knows locks, which that of {root} does not: "
                "set XDG_CACHE_HOME or TMPDIR to another."
            ) from error
        raise


def _disk_is_full(root: Path, what: str) -> UserError:
    return UserError(
        f"{what} does not fit on the disk of {root}: free some of it, or set XDG_CACHE_HOME or TMPDIR "
        "to a folder with more room."
    )
