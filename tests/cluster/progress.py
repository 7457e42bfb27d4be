"""What is said while a cluster comes up."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_BEGAN = time.monotonic()


class Stuck(Exception):
    """Something that was waited for did not come: one line says what, and where to look."""


def say(line: str) -> None:
    """Tells how far it is, with the seconds since the start."""
    print(f"cluster: {time.monotonic() - _BEGAN:5.1f} s  {line}", file=sys.stderr, flush=True)


def until(found: Callable[[], T | None], what: str, *, seconds: float, log: Path) -> T:
    """Waits until something is there.

    Args:
        found: Asked again and again; gives what was waited for, or None or False.
        what: What is waited for, to be said where it does not come.
        seconds: How long to wait.
        log: Where it writes to.

    Raises:
        Stuck: If it does not come in time.
    """
    ends = time.monotonic() + seconds
    while True:
        answer = found()
        if answer:
            return answer
        if time.monotonic() > ends:
            raise Stuck(f"{what} did not come within {seconds:.0f} s; {log} ends: {_last_line(log)}")
        time.sleep(0.2)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return lines[-1] if lines else "(it is empty)"
