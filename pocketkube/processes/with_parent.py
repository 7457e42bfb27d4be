"""Becomes a program that ends, by SIGTERM, with the thread that has started this process.

It is run as a file, not imported, and loads nothing that a short command would wait for. What
`subprocess` could do itself, in a process that is forked and runs no program yet, may end that process:
libraries with threads, as gRPC is one, act there on what only the parent has.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, words: list[str]) -> int:
    """Becomes a program; returns only where there is none.

    Args:
        parent: The process whose thread has started this one.
        words: The program and its arguments.

    Returns:
        127, which a shell returns where there is no such program.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # It was faster.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
    # Python ignores some signals, and a program that it becomes would, too.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(words[0], words)
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
