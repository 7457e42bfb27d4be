"""What a folder on a server holds: names, sizes and SHA-256 of its files, as the server keeps them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pocketkube.errors import UserError
from pocketkube.files.below import files_below
from pocketkube.files.whole import sha256_of
from pocketkube.storage.address import why_no_name

CONTENTS_FILE = "checksums.json"
"""Written last and removed first: a folder is complete where it stands."""

UNFINISHED_FILE = "unfinished.json"
"""Stands while a folder is written, and names its writer and every file that may be left of it."""

PROBE_FILE = "writable.json"
"""Put and removed to find out whether that is allowed."""

OUR_FILES = (CONTENTS_FILE, UNFINISHED_FILE, PROBE_FILE)

MAX_NAME_BYTES = 512


def _checked_name(name: str) -> str:
    if wrong := why_no_name(name, MAX_NAME_BYTES):
        raise ValueError(f"the name {name!r} is refused: {wrong}")
    if name in OUR_FILES:
        raise ValueError(f"the name {name!r} is refused: it is kept for what PocketKube writes there")
    return name


Name = Annotated[str, AfterValidator(_checked_name)]


class File(BaseModel):
    """One file.

    Attributes:
        name: Its path in the folder, by slashes.
        size_bytes: Its size.
        sha256: The SHA-256 of its content, in hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    name: Name
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Contents(BaseModel):
    """All files of a folder."""

    model_config = ConfigDict(frozen=True)

    files: tuple[File, ...]

    @model_validator(mode="after")
    def _each_file_once(self) -> "Contents":
        names = [file.name for file in self.files]
        folders = {str(folder) for name in names for folder in Path(name).parents}
        if len(set(names)) < len(names) or folders & set(names):
            raise ValueError("a name stands there twice, or for a file and a folder")
        return self

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.size_bytes for file in self.files)


class Unfinished(BaseModel):
    """What may be left of a folder whose writing has not ended.

    Attributes:
        writer: Who writes it, a word that no two of them have in common.
        names: Its files, and those that stood there before.
    """

    model_config = ConfigDict(frozen=True)

    writer: str
    names: tuple[Name, ...]


List = TypeVar("List", Contents, Unfinished)


def measure(folder: Path) -> Contents:
    """Reads all of a folder's files.

    Raises:
        UserError: If a file's name is none that can be written to a server.
    """
    paths = sorted(path for path in files_below(folder) if path.is_file())
    try:
        return Contents(files=tuple(_measured(folder, path) for path in paths))
    except ValidationError as error:
        raise UserError(f"{folder} cannot be sent: {_first(error)}.") from None


def read_list(kind: type[List], text: bytes, source: str) -> List:
    """Reads the JSON of a list.

    Args:
        kind: Which list it is.
        text: The JSON.
        source: Where it comes from, for messages.

    Raises:
        UserError: If it is damaged, or a name in it leads out of the folder.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{source} is no list of files that can be trusted: {_first(error)}.") from None


def known_names(contents: Contents | None, unfinished: Unfinished | None) -> Sequence[str]:
    """The names of all files that may be there by our own doing."""
    listed = [file.name for file in contents.files] if contents else []
    return [*listed, *(unfinished.names if unfinished else ())]


def _measured(folder: Path, path: Path) -> File:
    name = path.relative_to(folder).as_posix()
    return File(name=name, size_bytes=path.stat().st_size, sha256=sha256_of(path))


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    where = ".".join(map(str, found["loc"]))
    told = found["msg"].removeprefix("Value error, ")
    return f"{where}: {told}" if where else told
