"""Processes that this one starts: they end with it, and with all that they have started themselves."""

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence

import psutil

# What a process is given to end by itself before it is killed.
GRACE_S = 5.0


def end_with_parent() -> None:
    """Asks Linux for SIGTERM when the parent dies; called in a new process before its program."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


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


_PR_SET_PDEATHSIG = 1
# Looked up before there is a new process, which must not load anything.
_LIBC = ctypes.CDLL(None) if os.uname().sysname == "Linux" else None
