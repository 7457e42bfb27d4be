"""Processes that this one starts: they end with it, and with all that they have started themselves."""

import atexit
import contextlib
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

_GUARD, _WITH_PARENT = (Path(__file__).with_name(name) for name in ("guard.py", "with_parent.py"))
# What a process is given to end by itself before it is killed.
GRACE_S = 5.0


def ending_with_parent(command: Sequence[str]) -> list[str]:
    """A command that runs another, which ends by SIGTERM when the thread that started it is gone.

    See `started` where that thread may go before this process. Other systems than Linux have no such
    thing: there, it is the other command alone.

    Args:
        command: Program and arguments of the other.
    """
    if sys.platform != "linux":
        return list(command)
    # What the environment adds to Python is the other command's.
    return [sys.executable, "-I", "-S", str(_WITH_PARENT), str(os.getpid()), *command]


def started(command: Sequence[str], **settings: Any) -> subprocess.Popen:
    """Starts a process that ends with this one, by SIGTERM, and not with the thread that starts it.

    Args:
        command: Program and arguments.
        settings: See `subprocess.Popen`.
    """
    child = _Child(command, settings)
    child.start()
    process = child.found.get()
    if isinstance(process, BaseException):
        raise process
    return process


class _Child(threading.Thread):
    """Starts a process and lives as long as it does, which is what Linux asks of a parent."""

    def __init__(self, command: Sequence[str], settings: dict[str, Any]) -> None:
        super().__init__(name="child", daemon=True)
        self.found: queue.SimpleQueue[subprocess.Popen | BaseException] = queue.SimpleQueue()
        self._start = partial(subprocess.Popen, ending_with_parent(command), **settings)
        self._process: subprocess.Popen | None = None
        _CHILDREN.add(self)

    def run(self) -> None:
        try:
            self._process = self._start()
        except BaseException as error:
            self.found.put(error)
            return
        self.found.put(self._process)
        # Others are told how it ended.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)

    def end(self) -> None:
        """Ends the process, as Linux does when this one ends, and waits for the thread."""
        if self._process is not None:
            self._process.terminate()
        self.join(GRACE_S)


_CHILDREN: weakref.WeakSet[_Child] = weakref.WeakSet()


# Python may abort where a thread wakes up while it ends, as one does whose process ends then.
@atexit.register
def end_started() -> None:
    """Ends what `started` has started and runs yet, as the end of this process does."""
    for child in list(_CHILDREN):
        if child.is_alive():
            child.end()


def guarded(command: Sequence[str]) -> list[str]:
    """A command that runs another, and ends all that this has started when it is told to end.

    Args:
        command: Program and arguments of the other.
    """
    # The guard is kept from modules that the command's environment adds, and so from this one.
    packages = Path(psutil.__file__).parents[1]
    return [sys.executable, "-I", str(_GUARD), str(packages), *command]


def end_with(other: int) -> None:
    """Ends this process, by SIGTERM, when another ends that is not its parent.

    Args:
        other: Its process id.
    """
    try:
        watched = os.pidfd_open(other)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGTERM)
        return
    except (AttributeError, OSError):
        # Not on this system.
        return

    def watch() -> None:
        select.select([watched], [], [])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, name="watch", daemon=True).start()


def end_trees(processes: Sequence[subprocess.Popen]) -> None:
    """Ends processes that lead sessions of their own, with all that these have started.

    Args:
        processes: Some may have ended: what they left behind in their process group is ended, too.
    """
    trees: list[psutil.Process] = []
    for process in processes:
        # Not all stay in the group; those that left are found by their parents, while these live.
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(process.pid)
            trees += [top, *top.children(recursive=True)]
        _signal_group(process.pid, signal.SIGTERM)
    for each in trees:
        with contextlib.suppress(psutil.Error):
            each.terminate()
    _, alive = psutil.wait_procs(trees, GRACE_S)
    for each in alive:
        with contextlib.suppress(psutil.Error):
            each.kill()
    for process in processes:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
