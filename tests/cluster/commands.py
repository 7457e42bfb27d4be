"""The commands of this folder, on a cluster beside the one that the tests run on."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(folder: Path, *words: str, **settings: str) -> subprocess.Popen[str]:
    """Starts a command on the cluster of a folder.

    Args:
        folder: Where the cluster keeps what it writes.
        words: The command.
        settings: Environment variables beside those that are set.
    """
    others = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cluster", *words],
        cwd=ROOT,
        env={**others, "POCKETKUBE_CLUSTER": str(folder), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs such a command to its end."""
    with start(folder, *words, **settings) as process:
        told, complaint = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, told, complaint)


def complaint(folder: Path, *words: str, **settings: str) -> str:
    """The line with which such a command refuses."""
    done = run(folder, *words, **settings)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("cluster: ").strip()
