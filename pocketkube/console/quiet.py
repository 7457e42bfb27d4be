"""Keeps what libraries print on standard error away from the user until it is wanted."""

import logging
import os
import resource
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from types import FrameType
from typing import IO, Any, cast

from pocketkube.plain_errors import out_of_memory

_STANDARD_ERROR = 2
# What TensorFlow's native code says: 0 is everything, 3 its last words only.
LEVEL, FATAL_ALONE = "TF_CPP_MIN_LOG_LEVEL", "3"
# Of address space: with it version 2.21 converts a small network, with 2 GB it dies.
ROOM_BYTES = 2_500_000_000


class Captured:
    """What was printed while the capture was on."""

    def __init__(self, file: IO[bytes]):
        self._file = file

    @property
    def text(self) -> str:
        """All of it so far, from Python and from native code."""
        position = self._file.tell()
        self._file.seek(0)
        text = self._file.read().decode("utf-8", "replace")
        self._file.seek(position)
        return text


@contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Catches standard error, native code's included, and yields what was caught.

    Native libraries write to the file descriptor, past `sys.stderr`, so both are turned aside. This
    holds for the whole process while the block runs: keep a progress bar outside of it.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(_STANDARD_ERROR)
        try:
            os.dup2(file.fileno(), _STANDARD_ERROR)
            with os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8", buffering=1) as python_side:
                aside = _Aside(python_side)
                try:
                    with redirect_stderr(cast(IO[str], aside)):
                        yield Captured(file)
                finally:
                    aside.end()
                    # absl's first message makes a handler for everybody's, which no user asked for.
                    for handler in list(logging.root.handlers):
                        if getattr(handler, "stream", None) is aside:
                            logging.root.removeHandler(handler)
        finally:
            os.dup2(kept, _STANDARD_ERROR)
            os.close(kept)


class _Aside:
    """Stands for standard error while it is caught, and is what it is later on.

    Libraries keep the standard error that they find when they first have something to say.
    """

    def __init__(self, file: IO[str]):
        self._file: IO[str] | None = file

    def end(self) -> None:
        """Leads to standard error from now on."""
        self._file = None

    def __getattr__(self, name: str) -> Any:
        now = sys.stderr if sys.stderr is not self else sys.__stderr__
        return getattr(self._file or now, name)


def quiet_libraries() -> bool:
    """Keeps what libraries warn of from the terminal: theirs is not what the user can put right.

    Whoever sets TF_CPP_MIN_LOG_LEVEL to less than 3, as TensorFlow itself knows it, gets all of it;
    Python's warnings alone come with PYTHONWARNINGS or -W.

    Returns:
        Whether they are quiet.
    """
    if os.environ.setdefault(LEVEL, FATAL_ALONE) != FATAL_ALONE:
        return False
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    return True


# What TensorFlow says of work of ours that is as it should be.
_OF_NO_USE = ("triggered tf.function retracing", "Assets written to")


def quiet_own_calls() -> None:
    """Keeps what TensorFlow's logger says of our own work from a user who may have imported it first.

    What it says of the user's own code comes as ever.
    """
    logging.getLogger("tensorflow").addFilter(_is_of_use)


def _is_of_use(record: logging.LogRecord) -> bool:
    return not (any(words in str(record.msg) for words in _OF_NO_USE) and _is_ours(sys._getframe()))


def _is_ours(frame: FrameType | None) -> bool:
    """Whether this package, besides this file, is at work below a frame."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("pocketkube.") and name != __name__:
            return True
        frame = frame.f_back
    return False


def quiet_tensorflow() -> None:
    """Imports TensorFlow, as quiet as `quiet_libraries` says, Keras included.

    Nothing that is imported later is kept compiled: what TensorFlow makes of functions as it traces
    them are modules in TMPDIR, which it removes, and Python's compiled copies would stay.

    Raises:
        OutOfMemory: If the process may have less memory than that takes.
    """
    _refuse_little_room()
    if quiet_libraries():
        _import_quietly()
    import keras  # noqa: F401

    sys.dont_write_bytecode = True


def _refuse_little_room() -> None:
    """TensorFlow ends the process where it cannot map its libraries, without a word."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < ROOM_BYTES:
        raise out_of_memory(
            f"this process may have {limit:,} bytes of address space, ulimit -v, and TensorFlow alone "
            f"takes {ROOM_BYTES:,}"
        )


def _import_quietly() -> None:
    with captured_stderr():
        import tensorflow as tf
        from absl import logging

        # The first operation is what sets it talking.
        tf.constant(0.0) + 1.0
    # Retracing and the like go to TensorFlow's logger, Keras's own remarks to absl's.
    tf.get_logger().setLevel("ERROR")
    logging.set_verbosity(logging.ERROR)
