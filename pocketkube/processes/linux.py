"""Calls of Linux that Python has no name for; on other systems they do nothing."""

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_LIBC = ctypes.CDLL(None)
_PRCTL, _RENAME = (getattr(_LIBC, name, None) for name in ("prctl", "renameat2"))


def exchanged(one: Path, other: Path) -> bool:
    """Exchanges two files or folders in one step; False where this cannot be done."""
    return _RENAME is not None and not _RENAME(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )


def signal_with_parent(number: signal.Signals) -> None:
    """Has a signal sent to this process when the thread that started it is gone."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, number)
