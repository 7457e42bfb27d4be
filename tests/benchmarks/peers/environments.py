"""The peers' environments: build/peers/NAME, each made from requirements/peers/NAME.lock."""

import subprocess
import sys
from pathlib import Path

from pocketkube.errors import UserError

ROOT = Path(__file__).parents[3]
LOCKS, PLACE = ROOT / "requirements" / "peers", ROOT / "build" / "peers"
UV = ROOT / ".venv" / "tools" / "bin" / "uv"
# PocketKube's own, which runs the baselines that need nothing else, too.
OURS = "pocketkube"
PEERS = ("torch-pruning", "modelopt", "mct", "tfmot", "ai-edge-quantizer")
_READY = ".lock"


def python_of(name: str) -> Path:
    """The interpreter of an environment, whether it is there or not."""
    return Path(sys.executable) if name == OURS else PLACE / name / "bin" / "python"


def is_ready(name: str) -> bool:
    """Whether an environment is there, and as its lock says."""
    if name == OURS:
        return True
    made_from = PLACE / name / _READY
    return made_from.is_file() and made_from.read_text("utf-8") == _lock(name).read_text("utf-8")


def set_up(name: str) -> None:
    """Makes an environment from its lock, or brings it up to date; nothing where it is.

    Raises:
        UserError: If a package cannot be had; uv says which.
    """
    if is_ready(name):
        return
    folder, lock = PLACE / name, _lock(name)
    (folder / _READY).unlink(missing_ok=True)
    _uv(name, "venv", "--quiet", "--allow-existing", "--python", "3.11", str(folder))
    python = str(python_of(name))
    _uv(name, "pip", "sync", "--quiet", "--require-hashes", "--python", python, str(lock))
    (folder / _READY).write_text(lock.read_text("utf-8"), "utf-8")


def lock(name: str) -> None:
    """Resolves an environment's packages anew."""
    names = ["--universal", "--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate"]
    source = LOCKS / f"{name}.in"
    _uv(
        name,
        "pip",
        "compile",
        "--quiet",
        *names,
        "--python-version",
        "3.11",
        "-o",
        str(_lock(name)),
        str(source),
    )


def _uv(name: str, *arguments: str) -> None:
    if not UV.exists():
        raise UserError(f"{UV} is missing; `make .venv/.ready` puts it there.")
    done = subprocess.run([UV, *arguments], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"The environment {name} cannot be made: {done.stderr.strip()}")


def _lock(name: str) -> Path:
    return LOCKS / f"{name}.lock"
