"""Which of several processes that do one stage's work together this one is; without TensorFlow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketkube.files import temporary_folder

SIZES = ("OMPI_COMM_WORLD_SIZE", "HOROVOD_SIZE")
RANKS = ("OMPI_COMM_WORLD_RANK", "HOROVOD_RANK")


def started_size() -> int:
    """How many processes this one was started with by mpirun or horovodrun, itself included."""
    return max(int(os.environ.get(name, "1")) for name in SIZES)


def started_together() -> bool:
    """Whether mpirun or horovodrun started this process, be it as the only one."""
    return any(name in os.environ for name in SIZES)


def started_first() -> bool:
    """Whether this process is the first of them, or the only one."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


@contextmanager
def written_by_the_first(output: Path) -> Iterator[Path]:
    """Where this process writes what `output` is to hold: there in the first process only.

    The others write into a temporary folder that is removed afterwards, so that work shared by several
    processes needs to know nothing of it.

    Args:
        output: The file or folder to write.

    Yields:
        The path to write to, with the same name.
    """
    if started_first():
        yield output
        return
    with temporary_folder() as folder:
        yield folder / output.name
