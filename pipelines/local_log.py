"""Keeps what kfp.local prints of a local run to what a person wants to follow."""

import io
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

# Of the executor's own lines, and of the rules and gaps between tasks, nothing is news.
_DROPPED = re.compile(r"\s*$|-+$|.*- INFO - Streamed logs:|\s*\[KFP Executor .*")
# After these comes a dump, and how its lines begin: a task's input as JSON, or its outputs.
_DUMPS = (
    (re.compile(r".*\]: Got executor_input:"), re.compile(r" {4}[ {}]")),
    (re.compile(r".*- INFO - (Task|Pipeline) .*outputs:"), re.compile(r" ")),
)
# The colours of kfp.local, which it writes wherever its words go.
_COLOURS = re.compile(r"\x1b\[\d*m")


@contextmanager
def short_log() -> Iterator[None]:
    """Leaves dumps and rules out of what kfp.local prints while the block runs."""
    with warnings.catch_warnings(), redirect_stdout(ShortLog(sys.stdout)):
        # Our image's name is no mistake where no image is used.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"kfp\.local")
        yield


def plain(text: str) -> str:
    """A text of kfp.local's without its colours."""
    return _COLOURS.sub("", text)


class ShortLog(io.TextIOBase):
    """Passes the lines of kfp.local on that say something."""

    def __init__(self, target: TextIO):
        self._target = target
        self._line = ""
        self._dump: re.Pattern[str] | None = None

    def write(self, words: str) -> int:
        """Takes a part of a line, or several lines."""
        *lines, self._line = (self._line + words).split("\n")
        for line in lines:
            self._take(line)
        return len(words)

    def flush(self) -> None:
        """Shows what has been passed on; an unfinished line waits for its end."""
        self._target.flush()

    def _take(self, line: str) -> None:
        line = plain(line)
        if self._dump is not None and self._dump.match(line):
            return
        self._dump = next((inside for start, inside in _DUMPS if start.match(line)), None)
        if self._dump is None and not _DROPPED.match(line):
            self._target.write(line + "\n")
            self._target.flush()
