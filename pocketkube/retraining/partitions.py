"""The partitions of a data set that grows: which is the newest, and how it is read."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pocketkube.errors import UserError
from pocketkube.spec.sections import DatasetSettings
from pocketkube.storage import Location
from pocketkube.storage.checksums import CONTENTS_FILE

# As Spark and Hadoop mark a folder whose writing has ended; the other one is PocketKube's own.
MARKERS = ("_SUCCESS", CONTENTS_FILE)
# Kinds whose examples are in one file, or some, that a folder may hold.
OF_FILES = ("npz", "tfrecord")
OF_FOLDERS = ("idx", "image_folder")


@dataclass(frozen=True)
class Partition:
    """A partition that is complete; it does not change any more.

    Attributes:
        name: The name of its file or folder; see `order_of`.
        place: Where it is.
        is_folder: Whether it is a folder.
        incomplete: Names of later ones, which are not complete yet.
    """

    name: str
    place: Location
    is_folder: bool
    incomplete: tuple[str, ...] = ()


def order_of(name: str) -> tuple[list[str | int], str]:
    """Where a partition stands among others: names are in order, and numbers in them count as such.

    So week-10 is later than week-9.
    """
    parts = re.split(r"(\d+)", name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def newest_partition(place: Location, dataset: DatasetSettings) -> Partition:
    """The last partition, by name, that is complete.

    A file is complete where it stands, if it has the ending of the data set's own file, or is called
    as it where that has none; a folder where it holds `_SUCCESS` or `checksums.json`. Names that begin
    with a dot or an underscore are none.

    Args:
        place: The folder of all partitions.
        dataset: Of which kind they are.

    Raises:
        UserError: If there is none, or the server is away or refuses.
    """
    kind, named = dataset.source
    ending = PurePosixPath(named).suffix
    pattern = f"*{ending}" if ending else PurePosixPath(named).name
    incomplete: list[str] = []
    children = place.children()
    for child in sorted(children, key=lambda child: order_of(child.name), reverse=True):
        if child.name.startswith((".", "_")) or child.name in MARKERS:
            continue
        if child.is_file():
            # Where a data set is a folder, a file beside the partitions is none of them.
            if kind not in OF_FOLDERS and fnmatchcase(child.name, pattern):
                return Partition(child.name, child, False, tuple(incomplete))
        elif any(child.holds(marker) for marker in MARKERS):
            return Partition(child.name, child, True, tuple(incomplete))
        else:
            incomplete.append(child.name)
    if incomplete:
        why = f"{incomplete[0]} lacks {MARKERS[0]}, which says that its writing has ended"
    else:
        there = "" if children else "there is no such folder, or it is empty; "
        called = f"whose name ends in {ending}" if ending else f"called {pattern}"
        file = "" if kind in OF_FOLDERS else f"a file {called}, or "
        why = f"{there}it needs {file}a folder with {MARKERS[0]}"
    raise UserError(f"{place} has no partition that is complete: {why}.")


def dataset_of(partition: Partition, dataset: DatasetSettings) -> DatasetSettings:
    """The data set that a partition is.

    Args:
        partition: The partition.
        dataset: Its kind and settings; the last part of its place names the file, or the pattern of
            files, in a partition that is a folder.
    """
    kind, place = dataset.source
    found = partition.place
    if partition.is_folder and kind in OF_FILES:
        found = found.below(PurePosixPath(place).name)
    return dataset.model_copy(update={kind: str(found)})
