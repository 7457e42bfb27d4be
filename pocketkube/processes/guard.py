"""Runs a command, and ends all that it has started when the process that asked for it is gone.

It is run as a file, not imported, and loads nothing that a short command would wait for.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

_GRACE_S = 5.0
_PR_SET_CHILD_SUBREAPER = 36


def main(packages: str, words: Sequence[str]) -> int:
    """Runs a command to its end, or until SIGTERM, which Linux sends when the parent dies.

    Args:
        packages: The folder that has psutil, which Python does not find by itself everywhere.
        words: The command.

    Returns:
        Its exit code, negative where a signal ended it; 127 where there is no such program.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if sys.platform == "linux":
        # What the command leaves behind belongs to this process then, and is found.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        return subprocess.Popen(words).wait()
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr)
        return 127
    except KeyboardInterrupt:
        sys.path.append(packages)
        _end_all()
        return -signal.SIGTERM


def _interrupt(number: int, _: object) -> None:
    # Linux sends it for each thread of the parent that ends: it is to interrupt the command alone.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_all() -> None:
    import psutil

    while processes := psutil.Process().children(recursive=True):
        for each in processes:
            each.terminate()
        for each in psutil.wait_procs(processes, _GRACE_S)[1]:
            each.kill()


def _end_as(code: int) -> None:
    """Ends this process as the command has ended."""
    if code >= 0:
        sys.exit(code)
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)


if __name__ == "__main__":
    _end_as(main(sys.argv[1], sys.argv[2:]))
