"""What a task and its Job on a cluster hand each other: folders on the object store."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pocketkube.storage import fetch_folder, parse_uri, patiently, send_folder
from pocketkube.storage.failures import plain_failures
from pocketkube.storage.objects import list_objects
from pocketkube.storage.server import connect


@dataclass(frozen=True)
class Exchange:
    """A place of a Job's own.

    Attributes:
        place: Its s3:// address.
    """

    place: str

    def inputs(self, folders: Mapping[str, Path]) -> dict[str, str]:
        """Where the Job finds each input."""
        return {name: f"{self.place}/inputs/{name}" for name in folders}

    def output(self, number: int | str = 0) -> str:
        """Where a pod of the Job leaves what it makes."""
        return f"{self.place}/outputs/{number}"

    def send(self, folders: Mapping[str, Path]) -> None:
        """Sends the inputs.

        Raises:
            UserError: If the server stays away, or refuses.
        """
        for name, address in self.inputs(folders).items():
            patiently("send", partial(send_folder, folders[name], parse_uri(address)))

    def fetch(self, number: int, folder: Path) -> None:
        """Brings back what a pod made.

        Raises:
            UserError: If it is not there, or the server stays away.
        """
        patiently("fetch", partial(fetch_folder, parse_uri(self.output(number)), folder))

    def clear(self) -> None:
        """Removes all of it.

        Raises:
            UserError: If the server stays away, or refuses.
        """
        address = parse_uri(self.place)
        server = connect(address)
        with plain_failures(server.endpoint, address):
            for each in list_objects(server, address.bucket, address.object("")):
                server.client.remove_object(each.bucket, each.key)


def fingerprint(argv: list[str], folders: Mapping[str, Path]) -> str:
    """Twelve digits that change with a command and the content of what it reads.

    A task that was started again makes the same, and so finds the Job that it has made before.
    """
    digest = hashlib.sha256(json.dumps(argv).encode())
    for name, folder in sorted(folders.items()):
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{name}/{file.relative_to(folder)}".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
