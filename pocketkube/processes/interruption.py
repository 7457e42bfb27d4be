"""SIGTERM as an interruption, and interruptions that are not lost where Python drops exceptions."""

import _thread
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

# What comes within this time of the first is the same end of a parent.
_BURST_S = 5.0
# By then, Python has left the place where it dropped one.
_AGAIN_S = 0.05


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


def interrupt_at_sigterm() -> None:
    """Has SIGTERM raise KeyboardInterrupt in the main thread, as Ctrl-C does, once for a burst of them.

    Linux sends the signal for each thread of a killed parent that ends, and what a program does at its
    end is not to be interrupted by those. One that comes later interrupts again: the first may have
    come where other code drops exceptions. Where Python does, see `interrupt_again_where_dropped`.
    """
    began = -math.inf

    def interrupt(*_: object) -> None:
        nonlocal began
        now = time.monotonic()
        if now - began >= _BURST_S:
            began = now
            raise Terminated

    signal.signal(signal.SIGTERM, interrupt)
    interrupt_again_where_dropped()


def interrupt_again_where_dropped() -> None:
    """Has an interruption that Python drops come again, until it is raised where it interrupts.

    Python raises it wherever the main thread is, and drops what `__del__` and callbacks of weak
    references and of the garbage collector raise. TensorFlow spends much of its time in these.
    """
    if not isinstance(sys.unraisablehook, _Again):
        sys.unraisablehook = _Again(sys.unraisablehook)


class _Again:
    """Sends the signal of a dropped interruption again; all else is left to the hook before."""

    def __init__(self, earlier: Callable[[Any], Any]) -> None:
        self._earlier = earlier

    def __call__(self, unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._earlier(unraisable)
            return
        number = signal.SIGINT
        if issubclass(unraisable.exc_type, Terminated):
            number = signal.SIGTERM
            # The burst that it began is over.
            interrupt_at_sigterm()
        # threading.Thread takes locks, which the code that is interrupted here may hold. Python that is
        # about to end starts no thread.
        with suppress(RuntimeError):
            _thread.start_new_thread(_send_soon, (number,))


def _send_soon(number: signal.Signals) -> None:
    time.sleep(_AGAIN_S)
    main = threading.main_thread().ident
    assert main is not None
    # It ends what the main thread waits for, too.
    signal.pthread_kill(main, number)
