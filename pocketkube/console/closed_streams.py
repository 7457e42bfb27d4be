"""Opens standard streams that are closed."""

import os
import sys

_LAST = 2


def open_closed_streams() -> None:
    """Lets each standard stream that is closed lead nowhere, for this process and those it starts.

    A file that is opened later would else be taken for it, and libraries write to whatever is there.
    """
    opened = os.open(os.devnull, os.O_RDWR)
    while opened <= _LAST:
        os.set_inheritable(opened, True)
        opened = os.open(os.devnull, os.O_RDWR)
    os.close(opened)
    # Python has None for what was closed.
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
