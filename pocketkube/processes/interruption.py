"""SIGTERM as an interruption, and interruptions that are not lost where Python drops exceptions."""

import _thread
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

# What comes within this time of the first is the same end of a parent.
_BURST_S = 5.0
# By then, Python has left the place where it dropped one.
_AGAIN_S = 0.05


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@dataclass
class _Times:
    """What handlers of signals know of each other, by the clock of `time.monotonic`."""

    interrupted_s: float = -math.inf
    again_s: float = -math.inf


_times = _Times()


def interrupt_at_sigterm() -> None:
    """Has SIGTERM raise KeyboardInterrupt in the main thread, as Ctrl-C does, once for a burst of them.

    Linux sends the signal for each thread of a killed parent that ends, and a parent that Ctrl-C ends
    may send it on; what a program does at its end is not to be interrupted by those. One that comes
    later interrupts again: the first may have come where other code drops exceptions. Where Python
    does, see `interrupt_again_where_dropped`.
    """
    _times.interrupted_s = -math.inf
    signal.signal(signal.SIGTERM, _at_sigterm)
    interrupt_again_where_dropped()


def interrupt_again_where_dropped() -> None:
    """Has an interruption that Python drops come again, until it is raised where it interrupts.

    Python raises it wherever the main thread is, and drops what `__del__` and callbacks of weak
    references and of the garbage collector raise. TensorFlow spends much of its time in these.
    """
    if not isinstance(sys.unraisablehook, _Again):
        sys.unraisablehook = _Again(sys.unraisablehook)
    # Where it is ignored, as in what a shell runs in the background, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _at_sigint)


def _at_sigint(_: int, frame: FrameType | None) -> None:
    _interrupt(signal.SIGINT, KeyboardInterrupt, frame)


def _at_sigterm(_: int, frame: FrameType | None) -> None:
    if time.monotonic() - _times.interrupted_s >= _BURST_S:
        _interrupt(signal.SIGTERM, Terminated, frame)


def _interrupt(
    number: signal.Signals, interruption: type[KeyboardInterrupt], frame: FrameType | None
) -> None:
    # What is raised while Python is told of what it drops is dropped, too, and nobody is told.
    while frame is not None:
        if frame.f_code is _Again.__call__.__code__:
            _send_soon(number)
            return
        frame = frame.f_back
    _times.interrupted_s = time.monotonic()
    raise interruption


class _Again:
    """Sends the signal of a dropped interruption again; all else is left to the hook before."""

    def __init__(self, earlier: Callable[[Any], Any]) -> None:
        self._earlier = earlier

    def __call__(self, unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._earlier(unraisable)
            return
        # The burst that it began is over.
        _times.interrupted_s = -math.inf
        was_sigterm = issubclass(unraisable.exc_type, Terminated)
        _send_soon(signal.SIGTERM if was_sigterm else signal.SIGINT)


def _send_soon(number: signal.Signals) -> None:
    """Sends a signal to the main thread, unless one is on its way: it interrupts for both."""
    now = time.monotonic()
    if now < _times.again_s:
        return
    _times.again_s = now + _AGAIN_S
    # threading.Thread takes locks, which the code that is interrupted here may hold. Python that is
    # about to end starts no thread.
    with suppress(RuntimeError):
        _thread.start_new_thread(_send, (number,))


def _send(number: signal.Signals) -> None:
    time.sleep(_AGAIN_S)
    main = threading.main_thread().ident
    assert main is not None
    # It ends what the main thread waits for, too.
    signal.pthread_kill(main, number)
