"""A file, a folder or a pattern of files, on this machine or on an S3 server, behind one type."""

import glob
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from pocketkube.errors import MachineError, UserError
from pocketkube.files.below import files_below
from pocketkube.files.whole import place_of
from pocketkube.storage import server_settings
from pocketkube.storage.address import S3Address, is_uri, parse_uri, why_no_name
from pocketkube.storage.checksums import CONTENTS_FILE, UNFINISHED_FILE
from pocketkube.storage.download_cache import Held, hold
from pocketkube.storage.failures import plain_failures
from pocketkube.storage.fetch import download_all, fetch_contents, listed_objects
from pocketkube.storage.objects import S3Object, find_object, list_objects
from pocketkube.storage.server import Server, connect

_MAX_NAME_BYTES = 900
# The stamp of a place that holds nothing.
ABSENT = "[]"


@dataclass(frozen=True)
class Fetched:
    """What a location holds, on this machine.

    Attributes:
        path: The file or folder; nothing may be written into it. It has the location's name.
        held: Keeps a download where it is, for as long as this lives.
    """

    path: Path
    held: Held | None = None

    def renamed(self, text: str, name: str) -> str:
        """A text that speaks of `name` instead of the path."""
        return text.replace(str(self.path), name)

    @contextmanager
    def called(self, name: str) -> Iterator[None]:
        """Makes errors of the block speak of `name` instead of the path, but those of the machine."""
        try:
            yield
        except MachineError:
            raise
        except UserError as error:
            said = self.renamed(str(error), name)
            if said == str(error):
                raise
            raise error.saying(said) from error


class Location(ABC):
    """Where a file, a folder or, by a pattern such as `train-*`, several files are.

    `str` gives it as a person would write it.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Its last part."""

    @abstractmethod
    def fetch(self, *, sealed: bool = False, silent: bool = False) -> Fetched:
        """Brings it to this machine, if it is elsewhere and not here already.

        Args:
            sealed: Whether a folder elsewhere has to be one that `send_folder` has finished.
            silent: Whether to show no progress.

        Raises:
            UserError: If it is elsewhere, and is absent, incomplete or damaged there, does not fit on
                the disk, or the server is away or refuses.
        """

    @abstractmethod
    def matches(self) -> tuple["Location", ...]:
        """The files, no folders, that it means as a pattern, by name: *, [abc], ** for any folders.

        What is there under its very name is no pattern, nor are the folders on the way that are: a path
        may lead through `data [1]`.

        Raises:
            UserError: If it is elsewhere, and the server is away or refuses.
        """

    @abstractmethod
    def below(self, name: str) -> "Location":
        """What is called so in this folder; `name` may have slashes."""

    @abstractmethod
    def children(self) -> tuple["Location", ...]:
        """The files and folders right below this folder, by name; none where there is no folder.

        Raises:
            UserError: If it is elsewhere, and the server is away or refuses.
        """

    @abstractmethod
    def is_file(self) -> bool:
        """Whether it is one file.

        Raises:
            UserError: If it is elsewhere, and the server is away or refuses.
        """

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Whether a file of that name stands right below this folder.

        Raises:
            UserError: If it is elsewhere, and the server is away or refuses.
        """

    @abstractmethod
    def stamp(self) -> str:
        """Changes when what is there does, without reading it all; `ABSENT` where nothing is.

        Raises:
            UserError: If it is elsewhere, and the server is away or refuses.
        """

    @contextmanager
    def fetched(self, *, sealed: bool = False, silent: bool = False) -> Iterator[Path]:
        """What `fetch` brings, until the block ends; errors name this location, not the copy."""
        copy = self.fetch(sealed=sealed, silent=silent)
        try:
            with copy.called(str(self)):
                yield copy.path
        finally:
            if copy.held:
                copy.held.close()


def parse_location(text: str, base: Path = Path()) -> Location:
    """Reads a path, or s3://bucket/key.

    Args:
        text: As a person writes it; ~ is the home folder.
        base: The folder that relative paths start from.

    Raises:
        UserError: If it is a URI that is wrong, or of another kind.
    """
    return S3Location(parse_uri(text)) if is_uri(text) else LocalLocation(place_of(text, base))


@dataclass(frozen=True)
class LocalLocation(Location):
    """A path of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """Its last part."""
        return self.path.name

    def fetch(self, *, sealed: bool = False, silent: bool = False) -> Fetched:
        """The path itself, whether anything is there or not."""
        return Fetched(self.path)

    def matches(self) -> tuple[Location, ...]:
        """The files that match it as a pattern."""
        files = (path for path in self._matching() if not os.path.isdir(path))  # noqa: PTH112
        return tuple(map(LocalLocation, files))

    def below(self, name: str) -> "LocalLocation":
        """See `Location`."""
        return LocalLocation(self.path / name)

    def children(self) -> tuple[Location, ...]:
        """See `Location`."""
        if not self.path.is_dir():
            return ()
        return tuple(LocalLocation(path) for path in sorted(self.path.iterdir()))

    def is_file(self) -> bool:
        """See `Location`."""
        return self.path.is_file()

    def holds(self, name: str) -> bool:
        """See `Location`."""
        # Of a folder that may not be looked into, as lost+found, pathlib's raises.
        return os.path.isfile(self.path / name)  # noqa: PTH113

    def stamp(self) -> str:
        """Names, sizes and times of last change of its files."""
        there = [self.path] if self.path.exists() else self._matching()
        files = [f for path in there for f in (files_below(path) if path.is_dir() else [path])]
        stats = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
        return json.dumps(stats)

    def _matching(self) -> list[Path]:
        if os.path.exists(self.path):  # noqa: PTH110 - of what may not be looked at pathlib's raises.
            return [self.path]
        base = next(above for above in self.path.parents if os.path.exists(above))  # noqa: PTH110
        pattern = str(self.path.relative_to(base))
        return [base / name for name in sorted(glob.glob(pattern, root_dir=base, recursive=True))]  # noqa: PTH207


@dataclass(frozen=True)
class S3Location(Location):
    """An object, a folder of objects, or a pattern, on the server that the environment names.

    Attributes:
        address: Where.
        known: The object, where it has been listed.
    """

    address: S3Address
    known: S3Object | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return str(self.address)

    @property
    def name(self) -> str:
        """Its last part."""
        return PurePosixPath(self.address.key).name

    def fetch(self, *, sealed: bool = False, silent: bool = False) -> Fetched:
        """A copy in the cache of downloads, which is checked before it counts."""
        if self.known:
            return self._hold([self.known], silent)
        server = connect(self.address)
        with plain_failures(server.endpoint, self.address):
            objects = self._sealed(server) if sealed else self._objects(server)
        return self._hold(objects, silent)

    def matches(self) -> tuple[Location, ...]:
        """The objects that match it as a pattern."""
        server = connect(self.address)
        with plain_failures(server.endpoint, self.address):
            return tuple(
                S3Location(S3Address(each.bucket, each.key), each) for each in self._matching(server)
            )

    def below(self, name: str) -> "S3Location":
        """See `Location`."""
        return S3Location(S3Address(self.address.bucket, self.address.object(name)))

    def children(self) -> tuple[Location, ...]:
        """See `Location`."""
        server = connect(self.address)
        prefix = self.address.object("")
        with plain_failures(server.endpoint, self.address):
            found = server.client.list_objects(self.address.bucket, prefix=prefix)
            names = {str(each.object_name).removeprefix(prefix).rstrip("/") for each in found}
        return tuple(self.below(name) for name in sorted(names - {""}))

    def is_file(self) -> bool:
        """See `Location`."""
        server = connect(self.address)
        with plain_failures(server.endpoint, self.address):
            return find_object(server, self.address.bucket, self.address.key) is not None

    def holds(self, name: str) -> bool:
        """See `Location`."""
        return self.below(name).is_file()

    def stamp(self) -> str:
        """Names, sizes and etags of its objects."""
        server = connect(self.address)
        with plain_failures(server.endpoint, self.address):
            objects = _at(server, self.address) or self._matching(server)
        return json.dumps([(str(each), each.size_bytes, each.etag) for each in objects])

    def _matching(self, server: Server) -> list[S3Object]:
        begins = re.split(r"[*\[]", self.address.key, maxsplit=1)[0]
        listed = list_objects(server, self.address.bucket, begins)
        keys, pattern = [each.key.split("/") for each in listed], self.address.key.split("/")
        known = _known(keys, pattern)
        return [
            each
            for each, key in zip(listed, keys, strict=True)
            if key[:known] == pattern[:known] and _match(key[known:], pattern[known:])
        ]

    def _objects(self, server: Server) -> list[S3Object]:
        objects = _at(server, self.address)
        ours = {self.address.object(name) for name in (CONTENTS_FILE, UNFINISHED_FILE)}
        if not objects or ours & {each.key for each in objects}:
            return self._sealed(server)
        for each in objects:
            if wrong := why_no_name(each.key, _MAX_NAME_BYTES):
                raise UserError(f"{each!s:.300} cannot become a file here: {wrong}.")
        files = {each.key for each in objects}
        for each in objects:
            for above in PurePosixPath(each.key).parents:
                if str(above) in files:
                    raise UserError(
                        f"s3://{each.bucket}/{above} is an object, and {each!s:.300} one below it: no "
                        "file here can be a folder as well; remove or rename one of them."
                    )
        return objects

    def _sealed(self, server: Server) -> list[S3Object]:
        return listed_objects(self.address, fetch_contents(server, self.address))

    def _hold(self, objects: Sequence[S3Object], silent: bool) -> Fetched:
        size_bytes = sum(each.size_bytes for each in objects)
        told = [(each.key, each.size_bytes, each.etag, each.sha256) for each in objects]
        # The same objects lie otherwise in a copy of a folder than in one of a file.
        asked = [server_settings.endpoint(self.address), self.address.bucket, self.address.key]
        identity = json.dumps([*asked, told])

        def fill(folder: Path) -> None:
            server = connect(self.address)
            prefix = self.address.key.removesuffix(self.name)
            with plain_failures(server.endpoint, self.address):
                download_all(server, objects, prefix, folder, silent=silent)

        held = hold(identity, str(self), size_bytes, fill)
        return Fetched(held.folder / self.name, held)


def _at(server: Server, address: S3Address) -> list[S3Object]:
    """The one object of this name, or else all below it."""
    found = find_object(server, address.bucket, address.key)
    return [found] if found else list_objects(server, address.bucket, address.object(""))


def _known(keys: Sequence[Sequence[str]], pattern: Sequence[str]) -> int:
    """How many segments a pattern begins with that are there under their very names."""
    depths = range(len(pattern), 0, -1)
    return next((at for at in depths if any(key[:at] == pattern[:at] for key in keys)), 0)


def _match(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches a pattern, segment by segment, as Python's glob has it."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        # Nothing that begins with a dot is among any folders.
        hidden = (at for at, name in enumerate(names) if name.startswith("."))
        return any(_match(names[at:], pattern[1:]) for at in range(next(hidden, len(names)) + 1))
    return (
        bool(names)
        and fnmatchcase(names[0], pattern[0])
        and not (names[0].startswith(".") and not pattern[0].startswith("."))
        and _match(names[1:], pattern[1:])
    )
