"""What a child process does: reads requests from standard input, a line of JSON each, and answers."""

import json
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from pocketkube.plain_errors import in_words


def serve(answer: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Answers until standard input ends, which it does with the process at its other end.

    Args:
        answer: From a request to an answer, both of what JSON can hold.
    """
    # Ctrl-C reaches all of a terminal's processes; the one that asks ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as answers:
        # What libraries print is no answer.
        os.dup2(2, 1)
        requests: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        working: dict[str, str] = {}
        # Ready: what was printed so far belongs to no request.
        answers.write("{}\n")
        threading.Thread(target=_read, args=(requests, working), daemon=True).start()
        while True:
            request = requests.get()
            working["folder"] = str(request.get("folder", ""))
            answers.write(json.dumps(_answered(answer, request)) + "\n")
            working.clear()


def _read(requests: "queue.SimpleQueue[Mapping[str, Any]]", working: Mapping[str, str]) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    folder = working.get("folder")
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    # At once, whatever native code is in the middle of.
    os._exit(0)


def _answered(
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]], request: Mapping[str, Any]
) -> Mapping[str, Any]:
    try:
        return answer(request)
    except Exception as error:  # Libraries raise types of their own, private ones among them.
        meaning = in_words(error)
        said = str(meaning or error) or type(error).__name__
        return {"error": said, "meaning": "" if meaning is None else type(meaning).__name__}
