"""Runs a program on a worker for a launcher at the other end of standard input, and ends with it."""

import json
import os
import signal
import subprocess
import sys
import threading

from pocketkube.processes.children import end_trees, started
from pocketkube.processes.cores import threads_of_each


def main() -> int:
    """Runs what the first line of standard input says.

    Returns:
        The program's exit code; 128 + n where signal n ended it.
    """
    told = json.loads(sys.stdin.buffer.readline())
    process = started(
        told["program"],
        env={**threads_of_each(told["slots"]), **os.environ, **told["environment"]},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )

    is_over = threading.Event()

    def end_with_the_launcher() -> None:
        # Nothing more comes: this returns when the connection is gone.
        sys.stdin.buffer.read()
        is_over.set()
        end_trees([process])
        os._exit(128 + signal.SIGTERM)

    ending = threading.Thread(target=end_with_the_launcher, daemon=True)
    ending.start()
    code = process.wait()
    if is_over.is_set():
        ending.join()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    # The thread that reads would be waited for in vain.
    os._exit(main())
