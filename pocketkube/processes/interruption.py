"""SIGTERM as an interruption, which a program cleans up after."""

import math
import signal
import time

# What comes within this time of the first is the same end of a parent.
_BURST_S = 5.0


def interrupt_at_sigterm() -> None:
    """Has SIGTERM raise KeyboardInterrupt in the main thread, as Ctrl-C does, once for a burst of them.

    Linux sends the signal for each thread of a killed parent that ends, and what a program does at its
    end is not to be interrupted by those. One that comes later interrupts again: the first may have
    come where Python drops exceptions.
    """
    began = -math.inf

    def interrupt(*_: object) -> None:
        nonlocal began
        now = time.monotonic()
        if now - began >= _BURST_S:
            began = now
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
