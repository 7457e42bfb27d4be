"""The kernel's leave to run aarch64 programs, as long as a cluster holds it."""

import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).parents[2] / "images/arm64/emulator.sh"


def fetch_emulator() -> None:
    """Fetches what aarch64 programs run by, where this machine has nothing.

    Raises:
        OSError: If it is not to be had.
    """
    _emulator("fetch")


def start_emulation(holder: str) -> None:
    """Lets this machine run aarch64 programs.

    Args:
        holder: Who needs it; several may.

    Raises:
        OSError: If it cannot.
    """
    _emulator("register", holder)


def stop_emulation(holder: str) -> None:
    """Takes the leave back once nobody needs it; does nothing where there is none."""
    _emulator("unregister", holder)


def _emulator(*arguments: str) -> None:
    if subprocess.run([_SCRIPT, *arguments]).returncode:
        raise OSError("aarch64 programs cannot run here; the line above says why")
