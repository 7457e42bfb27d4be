"""A machine on which builders, clusters and package mirrors are only played."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Whether this machine has them or not, the one that is played has not.
ABSENT = {"buildah", "debootstrap", "docker", "go", "kind", "syft"}


@dataclass(frozen=True)
class Machine:
    """A machine with Debian's programs and some that are only played.

    Attributes:
        folder: What lies on it.
        programs: Debian's.
    """

    folder: Path
    programs: Path

    def has(self, program: str, script: str = "") -> None:
        """Puts a program there that writes down how it is called, and does what a script says."""
        place = self.folder / "bin" / program
        place.write_text(f'#!/bin/bash\necho "{program} $*" >> {self.folder}/calls\n{script}\n')
        place.chmod(0o755)

    def run(self, *command: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the checkout there."""
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{self.programs}",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            list(map(str, command)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=environment | settings,
        )

    def calls(self, program: str) -> list[str]:
        """How a program was called so far."""
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in lines if line.split()[0] == program]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for program in (*Path("/usr/bin").iterdir(), *Path("/usr/sbin").iterdir()):
        if program.name not in ABSENT and not (folder / program.name).is_symlink():
            (folder / program.name).symlink_to(program)
    return folder


@pytest.fixture
def machine(tmp_path: Path, programs: Path) -> Machine:
    (tmp_path / "bin").mkdir()
    return Machine(tmp_path, programs)
