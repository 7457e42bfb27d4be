"""What a child process does: reads requests from standard input, a line of JSON each, and answers."""

import json
import os
import queue
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
        # Ready: what was printed so far belongs to no request.
        answers.write("{}\n")
        threading.Thread(target=_read, args=(requests,), daemon=True).start()
        while True:
            answers.write(json.dumps(_answered(answer, requests.get())) + "\n")


def _read(requests: "queue.SimpleQueue[Mapping[str, Any]]") -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
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
