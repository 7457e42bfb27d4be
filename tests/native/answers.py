"""A child process for the tests: does what it is asked, dying included."""

import ctypes
import os
import sys
import time

from pocketkube.errors import UserError
from pocketkube.native.serving import serve


def answer(request):
    match request["do"]:
        case "tell":
            print("what libraries print is no answer")
            return {"pid": os.getpid(), "told": request["what"]}
        case "crash":
            ctypes.string_at(0)
        case "leave":
            print("the last word", file=sys.stderr)
            os._exit(3)
        case "starve":
            print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr)
            os.abort()
        case "starve in Python":
            raise MemoryError
        case "refuse":
            raise UserError("Give something else.")
        case "raise":
            print("a hint", file=sys.stderr)
            raise KeyError("odd")
        case "wait":
            time.sleep(600)
        case "hold":
            # Python's lock is not let go meanwhile.
            ctypes.PyDLL(None).sleep(600)
    return {}


if __name__ == "__main__":
    serve(answer)
