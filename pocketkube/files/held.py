"""Files that a process holds while it works (flock): they say who it is, and one that dies lets go."""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pocketkube.plain_errors import in_words

# Begin and end the names of those that are removed when whoever held them was killed.
OURS, HELD = ".pocketkube-", ".held"
# The errors of file systems that know no locks.
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
_DAY_S = 24 * 3600.0


@contextmanager
def held(file: Path, meets: Callable[[str], None], *, required: bool = False) -> Iterator[int]:
    """Holds a file that is there only while somebody holds it; waits for another who does.

    Processes that are given the descriptor hold it, too, when this one has been killed.

    Args:
        file: The file; its folder is made where it is not there.
        meets: Told once who holds it, as in "process 17 on host since 12:30:05"; what it raises ends
            the waiting.
        required: Whether to refuse where the file system knows no locks; otherwise nothing is
            protected there.

    Yields:
        The file's descriptor.

    Raises:
        UserError: If it cannot be written.
        OSError: If a lock is required, and the file system knows none.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = _taken(file, meets, required=required)
    except OSError as error:
        meaning = in_words(error, Path(error.filename or file))
        if meaning is None:
            raise
        raise meaning from error
    with _signed(file, lock):
        yield lock


@contextmanager
def held_anew(file: Path) -> Iterator[None]:
    """Holds a file of a name that nobody else uses, as `held` does, in a folder that is there.

    Raises:
        OSError: If it cannot be written.
    """
    lock = _taken(file, lambda holder: None, required=False)
    with _signed(file, lock):
        yield


def locked(file: Path, *, shared: bool = False) -> int:
    """Locks a file, which is made where it is not there, and waits for it; returns its descriptor.

    Args:
        file: The file; its folder is there.
        shared: Whether others may hold it, too, who say so.
    """
    while (lock := _try_to_lock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)) is None:
        continue
    return lock


def locked_now(file: Path) -> int | None:
    """Locks a file as `locked` does, but returns None where another holds it."""
    try:
        while (lock := _try_to_lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)) is None:
            continue
    except BlockingIOError:
        return None
    return lock


def locked_if_abandoned(file: Path) -> int | None:
    """Locks a file that a process of this user left behind; None where that one may be alive.

    Where several hosts share a file system, locks may be known to one host only: what another host
    left counts when it is a day old.

    Raises:
        OSError: If another holds it, it is gone, or the file system knows no locks.
    """

    def is_abandoned(status: os.stat_result) -> bool:
        is_own_host = f" on {socket.gethostname()} since " in _holder(file)
        is_old = status.st_mtime < time.time() - _DAY_S
        is_own = status.st_uid == os.getuid() and os.path.samestat(status, file.stat())
        return is_own and (is_own_host or is_old)

    lock = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    return _locked_if(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, is_abandoned)


def _taken(file: Path, meets: Callable[[str], None], *, required: bool) -> int:
    try:
        lock = locked_now(file)
        if lock is None:
            meets(_holder(file))
            lock = locked(file)
        return lock
    except OSError as error:
        if required or error.errno not in NO_LOCKS:
            raise
        return _opened(file)


@contextmanager
def _signed(file: Path, lock: int) -> Iterator[None]:
    """Writes into a file who holds it; removes it in the end."""
    now = datetime.now().astimezone()
    # One that another user left keeps its words.
    with suppress(OSError):
        os.truncate(lock, 0)
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()} since {now:%H:%M:%S}".encode())
    _LOCKS.add(lock)
    try:
        yield
    finally:
        if lock in _LOCKS:
            # While it is held: another who waits for it sees that it is gone, and makes it anew.
            with suppress(OSError):
                file.unlink()
            _LOCKS.discard(lock)
            os.close(lock)


def _try_to_lock(file: Path, how: int) -> int | None:
    """The file's descriptor; None where it is no longer the file that was locked."""

    def is_there(status: os.stat_result) -> bool:
        # Whoever held it may have removed it, and others have made a new one.
        try:
            return os.path.samestat(status, file.stat())
        except FileNotFoundError:
            return False

    return _locked_if(_opened(file), how, is_there)


def _locked_if(lock: int, how: int, is_right: Callable[[os.stat_result], bool]) -> int | None:
    """The descriptor, locked; None, and it is closed, where its file is not the one that is meant."""
    try:
        fcntl.flock(lock, how)
        if is_right(os.fstat(lock)):
            return lock
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _opened(file: Path) -> int:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(file, flags | os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not file.exists():
            raise
        # What another user left can be locked all the same.
        return os.open(file, flags | os.O_RDONLY)


def _holder(file: Path) -> str:
    with suppress(OSError, UnicodeDecodeError), file.open("rb") as stream:
        text = stream.read(200).decode()
        if text.isprintable() and text:
            return text
    return "another process"


def _let_go() -> None:
    """What this process was forked from holds its files alone: they are free when that dies."""
    for lock in _LOCKS:
        os.close(lock)
    _LOCKS.clear()


_LOCKS: set[int] = set()
os.register_at_fork(after_in_child=_let_go)
