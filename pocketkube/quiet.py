"""Keeps what libraries print on standard error away from the user until it is wanted."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import IO

_STANDARD_ERROR = 2


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
            with (
                os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8", buffering=1) as python_side,
                redirect_stderr(python_side),
            ):
                yield Captured(file)
        finally:
            os.dup2(kept, _STANDARD_ERROR)
            os.close(kept)


def quiet_tensorflow() -> None:
    """Imports TensorFlow without what its native code says of its own build."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with captured_stderr():
        import tensorflow as tf

        # The first operation is what sets it talking.
        tf.constant(0.0) + 1.0
        tf.get_logger().setLevel("ERROR")
