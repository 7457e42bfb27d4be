"""Processes on the workers of an MPIJob, which are reached by ssh."""

import itertools
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pocketkube.launch.elastic import far_end
from pocketkube.launch.ssh_hosts import discovered_hosts, say_starved, states_of
from pocketkube.processes.children import started

# The launcher's own, which would mislead a worker.
OWN = ("HOME", "HOSTNAME", "LD_PRELOAD", "OLDPWD", "PATH", "PWD", "SHLVL", "TERM", "_")
OWN_PREFIXES = ("CUDA_", "K_MPI_", "KUBERNETES_", "NVIDIA_", "OMPI_", "OPAL_", "ORTE_", "PMIX_")
# So that the loss of a node without a word is noticed.
_ALIVE = ("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3")


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the launcher's environment is for its workers."""
    return {
        name: value
        for name, value in environment.items()
        if name not in OWN and not name.startswith(OWN_PREFIXES)
    }


class Pods:
    """See `Hosts`: the workers that the job has, which may become more or fewer.

    Args:
        slots: Processes of each worker.
        program: Program and arguments.
    """

    def __init__(self, slots: int, program: Sequence[str]) -> None:
        self._slots, self._program = slots, program
        self._numbers = itertools.count()
        self._hosts: dict[str, str] = {}

    def free(self, running: Sequence[str], most: int) -> list[str]:
        """See `Hosts`; on workers that answer: those that were lost are listed for a minute more."""
        if len(running) >= most:
            return []
        used = Counter(self._hosts[name] for name in running)
        hosts = [host for host in discovered_hosts() if used[host] < self._slots]
        states = states_of(hosts)
        free = [host for host in hosts if states[host] for _ in range(self._slots - used[host])]
        names = [f"worker-{next(self._numbers)}" for _ in free[: most - len(running)]]
        self._hosts |= dict(zip(names, free, strict=False))
        return names

    def start(self, name: str, environment: Mapping[str, str]) -> subprocess.Popen:
        """See `Hosts`; the environment, which may hold secrets, is in no list of arguments."""
        process = started(
            ["ssh", *_ALIVE, self._hosts[name], sys.executable, "-m", far_end.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        variables = {**passed_on(os.environ), **environment}
        told = {"environment": variables, "program": self._program, "slots": self._slots}
        threading.Thread(target=_tell, args=(process, told), daemon=True).start()
        return process

    def lose(self, name: str) -> None:
        """See `Hosts`; says so where memory ran out."""
        host = self._hosts[name]
        say_starved(states_of([host]))


def _tell(process: subprocess.Popen, told: Mapping[str, object]) -> None:
    # It stays open: the other end ends what it runs when it is closed.
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
