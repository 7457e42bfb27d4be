"""SIGTERM as an interruption, which a program cleans up after."""

import signal


def interrupt_at_sigterm() -> None:
    """Has the first SIGTERM raise KeyboardInterrupt in the main thread, as Ctrl-C does.

    Later ones do nothing. Linux sends the signal for each thread of a killed parent that ends, and what
    a program does at its end is not to be interrupted by those.
    """
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, _: object) -> None:
    # Programs that are started from now on would inherit a signal that is ignored.
    signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt
