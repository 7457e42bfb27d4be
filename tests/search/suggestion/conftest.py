"""The service as its image has it: in an environment of its own, spoken to by Katib's own stubs."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from pocketkube.search.suggestion.stubs import stubs

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "requirements" / "suggestion.lock"


@dataclass
class Service:
    """A service that runs, and how it is asked.

    Attributes:
        process: It.
        channel: To it.
        suggestion: Katib's client.
        log: The file that it writes its log to.
    """

    process: subprocess.Popen[str]
    channel: grpc.Channel
    suggestion: Any
    log: Path

    @property
    def most_memory_kib(self) -> int:
        """The most memory that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


@pytest.fixture(scope="session")
def environment() -> Path:
    """The Python of an environment as suggestion.lock has it; it is made once and kept."""
    uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.prefix, "tools", "bin"))
    if uv is None:
        pytest.skip("uv is missing, which makes the suggestion service's environment")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = "{}.{}".format(*sys.version_info)
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    folder = cache / "pocketkube" / "suggestion" / f"{digest}-{version}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            python = folder / "bin" / "python"
            for command in (
                [uv, "venv", "--quiet", "--python", sys.executable, folder],
                [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", python, LOCK],
            ):
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    pytest.skip(f"the suggestion service's environment cannot be made: {done.stderr}")
            (folder / "complete").touch()
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def katib(environment: Path) -> Iterator[tuple[Any, Any]]:
    """Katib's messages and clients."""
    (packages,) = environment.parents[1].glob("lib/python*/site-packages")
    sys.path.append(str(packages))
    try:
        yield stubs()
    finally:
        sys.path.remove(str(packages))


@pytest.fixture(scope="session")
def start(
    environment: Path, katib: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Service]]:
    """Starts a service."""
    running: list[Service] = []

    def started() -> Service:
        log = tmp_path_factory.mktemp("service") / "log"
        process = subprocess.Popen(
            [environment, "-m", "pocketkube.search.suggestion_service", "--host=127.0.0.1", "--port=0"],
            stdin=subprocess.DEVNULL,
            stderr=log.open("w"),
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        channel = grpc.insecure_channel(f"127.0.0.1:{_port(process, log)}")
        service = Service(process, channel, katib[1].SuggestionStub(channel), log)
        running.append(service)
        return service

    yield started
    for each in running:
        each.channel.close()
        each.process.kill()
        each.process.wait()


@pytest.fixture(scope="module")
def service(start: Callable[[], Service]) -> Service:
    """A service of this module's tests."""
    return start()


def _port(process: subprocess.Popen[str], log: Path) -> str:
    import time

    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"port=(\d+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the service does not serve: {log.read_text()}")
