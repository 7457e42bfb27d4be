"""Keeps what is read from being lost to what is written."""

from collections.abc import Iterable
from os.path import realpath
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files.whole import place_of


def refuse_overwriting(read: Iterable[tuple[str, str | Path]], written: Iterable[Path]) -> None:
    """Says when something would be written over that is read.

    Args:
        read: What messages call each file or folder that is read, and its path; an address only
            where `written` cannot be the current folder.
        written: Files and folders that are to be replaced, or removed with all that is in them.

    Raises:
        UserError: If one that is read is one of those, or in it.
    """
    # Unlike Path.resolve, it takes links that lead to themselves: whoever writes there says more.
    places = [Path(realpath(each)) for each in written]
    for what, file in read:
        place = Path(realpath(place_of(str(file), Path())))
        if any(place.is_relative_to(each) for each in places):
            raise UserError(
                f"{what}: {file} is read, and would be written over: give another place to write to, "
                "or have it elsewhere."
            )
