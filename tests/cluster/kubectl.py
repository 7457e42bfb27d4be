"""Asks a cluster's API server by kubectl."""

import os
import subprocess
from pathlib import Path

from tests.cluster.binaries import binary


def kubectl(kubeconfig: Path, *arguments: str, given: str | None = None) -> str:
    """Runs kubectl to its end.

    Args:
        kubeconfig: Names the cluster, one of this machine's.
        arguments: Its arguments.
        given: What it reads.

    Returns:
        What it printed.

    Raises:
        OSError: If it failed.
    """
    done = subprocess.run(
        [binary("kubectl"), f"--kubeconfig={kubeconfig}", *arguments],
        input=given,
        # No proxy reaches a network that only this machine knows.
        env={**os.environ, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise OSError(f"kubectl {arguments[0]} failed: {said[0]}")
    return done.stdout
