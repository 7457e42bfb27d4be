"""The files of a folder and of all folders in it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def files_below(folder: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """All that is no folder in a folder and those in it, in order; links to folders are followed.

    Args:
        folder: The folder.
        on_error: Told of a folder that cannot be read; such are left out if None.
    """
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        found = Path(place).stat()
        # A link may lead back to where it is.
        if (found.st_dev, found.st_ino) in seen:
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))
