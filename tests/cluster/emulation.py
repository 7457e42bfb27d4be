"""The kernel's leave to run aarch64 programs, as long as a cluster holds it."""

import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).parents[2] / "images/arm64/emulator.sh"


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
    done = subprocess.run([_SCRIPT, *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip())
