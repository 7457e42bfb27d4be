"""Takes a cluster's API server away and brings it back, as an upgrade or a restarted node does."""

import os
import signal
import time
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.cluster import group_of, nodes
from tests.cluster.kubectl import kubectl
from tests.cluster.progress import until

_PROGRAM = "kube-apiserver"


def restart_api_server(folder: Path, *, away_s: float = 0) -> None:
    """Ends the API server of a cluster at once, and starts it again as it was.

    Args:
        folder: The cluster's. One that other tests use meanwhile is not to be taken.
        away_s: How long nothing answers. Beyond 5 s the MPI operator gives up its lease, and ends.

    Raises:
        Stuck: If it does not come back.
    """
    machine = nodes(folder)[0].machine
    process = _process(folder)
    command = Path(f"/proc/{process}/cmdline").read_text().rstrip("\0").split("\0")
    os.kill(process, signal.SIGKILL)
    time.sleep(away_s)
    machine.start(*command)
    until(
        lambda: _is_ready(folder / "kubeconfig"),
        "the API server's return",
        seconds=60,
        log=machine.log(_PROGRAM),
    )


def _process(folder: Path) -> int:
    for process in cgroups.processes(group_of(folder)):
        if Path(f"/proc/{process}/exe").resolve().name == _PROGRAM:
            return process
    raise ValueError(f"no {_PROGRAM} runs in the cluster of {folder}")


def _is_ready(kubeconfig: Path) -> bool:
    try:
        return kubectl(kubeconfig, "get", "--raw", "/readyz") == "ok"
    # Until it listens again.
    except OSError:
        return False
