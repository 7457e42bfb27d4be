"""Files that a process holds while it works (flock): they say who it is, and one that dies lets go."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pocketkube.errors import UserError

# Ends the names of those in a folder for results.
HELD = ".held"
# File systems that know no locks: what is to be protected then is as safe as it was without.
_UNKNOWN = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


@contextmanager
def held(file: Path, meets: Callable[[str], None]) -> Iterator[None]:
    """Holds a file that is there only while somebody holds it; waits for another who does.

    Args:
        file: The file; its folder is made where it is not there.
        meets: Told once who holds it, as in "process 17 on host since 12:30:05"; what it raises ends
            the waiting.

    Raises:
        UserError: If its folder cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = locked_now(file)
        if lock is None:
            meets(_holder(file))
            lock = locked(file)
    except OSError as error:
        raise UserError(f"Cannot write {file.parent}: {error.strerror}.") from error
    try:
        os.truncate(lock, 0)
        now = datetime.now().astimezone()
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()} since {now:%H:%M:%S}".encode())
        yield
    finally:
        # While it is held: another who waits for it sees that it is gone, and makes it anew.
        with suppress(OSError):
            file.unlink()
        os.close(lock)


def remove_abandoned(file: Path) -> None:
    """Removes a file that a killed process has held; one that is held is left."""
    with suppress(OSError):
        lock = locked_now(file)
        if lock is not None:
            file.unlink()
            os.close(lock)


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


def _try_to_lock(file: Path, how: int) -> int | None:
    """The file's descriptor; None where it is no longer the file that was locked."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, how)
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
        # Whoever held it may have removed it, and others have made a new one.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), file.stat()):
                return lock
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _holder(file: Path) -> str:
    with suppress(OSError, UnicodeDecodeError), file.open("rb") as stream:
        text = stream.read(200).decode()
        if text.isprintable() and text:
            return text
    return "another process"
