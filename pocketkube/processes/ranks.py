"""Which of several processes that do one stage's work together this one is; without TensorFlow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketkube.files.whole import put_copy, temporary_folder

SIZES = ("OMPI_COMM_WORLD_SIZE", "HOROVOD_SIZE")
RANKS = ("OMPI_COMM_WORLD_RANK", "HOROVOD_RANK")
# Set where processes may come and go: what they show to be given their places.
GROUP = "POCKETKUBE_GROUP"
# The exit code of a process that was started when training had gone on without it.
TOO_LATE = 75


def started_size() -> int:
    """How many processes this one was started with by mpirun or horovodrun, itself included."""
    return max(int(os.environ.get(name, "1")) for name in SIZES)


def started_together() -> bool:
    """Whether mpirun or horovodrun started this process, be it as the only one."""
    return any(name in os.environ for name in SIZES)


def may_change() -> bool:
    """Whether processes that were started with this one may come and go, and so its rank may change."""
    return GROUP in os.environ


def started_first() -> bool:
    """Whether this process is the first of them, or the only one; as things are now."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


@contextmanager
def written_by_the_first(output: Path) -> Iterator[Path]:
    """Where this process writes what `output` is to hold, which ends there in the first process only.

    The others write into a temporary folder that is removed afterwards, so that work shared by several
    processes needs to know nothing of it. Where processes may come and go, all do, and what the first
    has written is put in place in the end: only then is it known which one that is.

    Args:
        output: The file or folder to write.

    Yields:
        The path to write to, with the same name.
    """
    if started_first() and not may_change():
        yield output
        return
    with temporary_folder() as folder:
        made = folder / output.name
        yield made
        if started_first() and may_change() and made.exists():
            put_copy(made, output)
