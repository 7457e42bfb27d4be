"""A real S3 server on loopback: versitygw, which keeps objects as files in a folder."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BUCKET = "models"
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tell-nobody-of-this"}


@dataclass(frozen=True)
class Gateway:
    """A running server.

    Attributes:
        endpoint: Its URL.
        objects: The folder with the bucket's objects.
        log: The file with a line for each request.
    """

    endpoint: str
    objects: Path
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """What tells a client of it."""
        return {"AWS_ENDPOINT_URL_S3": self.endpoint, **KEYS}


@contextmanager
def running_gateway(
    program: Path, folder: Path, *options: str, port: int | None = None
) -> Iterator[Gateway]:
    """Runs a server with one bucket, until the block ends.

    Args:
        program: The server's program.
        folder: Where its objects are kept, and are from a server before.
        options: More options of the program.
        port: Where it listens; on a free port if not given.
    """
    objects, sidecar, log = folder / "data" / BUCKET, folder / "sidecar", folder / "access.log"
    for place in (objects, sidecar):
        place.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    secure = "--cert" in options
    command = [
        str(program),
        "--port",
        f"127.0.0.1:{port}",
        "--quiet",
        "--access-log",
        str(log),
        *options,
    ]
    command += ["posix", "--sidecar", str(sidecar), str(objects.parent)]
    keys = {
        "ROOT_ACCESS_KEY_ID": KEYS["AWS_ACCESS_KEY_ID"],
        "ROOT_SECRET_ACCESS_KEY": KEYS["AWS_SECRET_ACCESS_KEY"],
    }
    with (folder / "server.log").open("w") as said:
        server = subprocess.Popen(
            command, env={**os.environ, **keys}, stdout=said, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(server, port, folder / "server.log")
        yield Gateway(f"{'https' if secure else 'http'}://127.0.0.1:{port}", objects, log)
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait_for(server: subprocess.Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"versitygw did not start: {log.read_text()}")
