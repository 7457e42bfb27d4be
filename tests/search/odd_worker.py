"""A process of trials for the tests: the name of the folder that trials share tells what it does."""

import errno
import os
import sys
import time
from pathlib import Path

from pocketkube.native.serving import serve


def evaluate(request):
    match Path(request["prepared"]).name:
        case "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "starved":
            print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr)
            os.abort()
        case "slow":
            ends = time.monotonic() + 0.5
            while time.monotonic() < ends:
                pass
    return {"score": 0.5, "costs": {}, "seconds": 0.1}


if __name__ == "__main__":
    serve(evaluate)
