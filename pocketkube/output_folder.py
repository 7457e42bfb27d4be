"""A folder for results, into which one run writes at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files import sweep
from pocketkube.held_files import HELD, held, remove_abandoned

LOCK = ".lock"


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Keeps a second run out of a folder, and removes what killed ones were writing in it.

    Args:
        output: The folder; made where it is not there, and gone again where nothing was written.

    Raises:
        UserError: If another run is at it, which is named, or it cannot be written.
    """

    def refuse(holder: str) -> None:
        raise UserError(f"{output}: {holder} writes there; wait for its end, or give another --output.")

    was_there = output.exists()
    try:
        with held(output / LOCK, refuse):
            _sweep_all(output)
            yield
    finally:
        if not was_there:
            with suppress(OSError):
                output.rmdir()


def _sweep_all(output: Path) -> None:
    for path, _, names in os.walk(output):
        folder = Path(path)
        sweep(folder)
        for name in names:
            if name.startswith(".") and name.endswith(HELD):
                remove_abandoned(folder / name)
