"""Folders that are written once, whole, and never change: on this machine or on an S3 server."""

import shutil
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files.whole import added_folder
from pocketkube.storage.checksums import CONTENTS_FILE
from pocketkube.storage.location import LocalLocation, Location, S3Location
from pocketkube.storage.patience import patiently
from pocketkube.storage.send import AlreadyThere, send_folder


def add_folder(folder: Path, place: Location) -> bool:
    """Copies a folder to where nothing stands yet; readers see all of it or nothing.

    Args:
        folder: The folder.
        place: Where it goes. What an interrupted copy has left there is replaced.

    Returns:
        Whether it was written; a complete folder that stands there is left as it is.

    Raises:
        UserError: If others' files are there, it cannot be written, or the server is away or refuses.
    """
    if is_whole(place):
        return False
    if isinstance(place, LocalLocation):
        return _add_here(folder, place.path)
    assert isinstance(place, S3Location)
    address = place.address
    try:
        patiently("send", lambda: send_folder(folder, address, replaces=False))
    except AlreadyThere:
        return False
    return True


def is_whole(place: Location) -> bool:
    """Whether a folder that `add_folder` or a stage has written stands there, complete.

    Raises:
        UserError: If the server is away or refuses.
    """
    return place.path.is_dir() if isinstance(place, LocalLocation) else place.holds(CONTENTS_FILE)


def _add_here(folder: Path, target: Path) -> bool:
    try:
        with added_folder(target) as aside:
            shutil.copytree(folder, aside, dirs_exist_ok=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise UserError(f"Cannot write {target}: {error.strerror}.") from error
    return True
