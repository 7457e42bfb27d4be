"""Where the processes of a group run: this machine, for one."""

import itertools
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from pocketkube.processes.children import started
from pocketkube.processes.cores import cores_of_each


class Hosts(Protocol):
    """Where processes can be started."""

    def free(self, running: Sequence[str], most: int) -> list[str]:
        """Names for processes that may be started now, beside those that run.

        Args:
            running: The names of those that run.
            most: How many may run, with these.
        """

    def start(self, name: str, environment: Mapping[str, str]) -> subprocess.Popen:
        """Starts a process, whose output is piped."""

    def lose(self, name: str) -> None:
        """Takes note that a process was lost."""


@dataclass
class ThisMachine:
    """Processes of this machine, each under a name that was not there before, and on cores of its own.

    Attributes:
        program: Program and arguments.
        held: Descriptors of locks that are held until all processes have ended.
    """

    program: Sequence[str]
    held: Sequence[int] = ()
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _cores: dict[str, set[int]] = field(default_factory=dict)

    def free(self, running: Sequence[str], most: int) -> list[str]:
        """See `Hosts`."""
        names = [f"worker-{next(self._numbers)}" for _ in range(most - len(running))]
        self._cores = {name: cores for name, cores in self._cores.items() if name in running}
        left = [each for each in cores_of_each(most) if each not in self._cores.values()]
        # There are none where processes cannot have cores of their own.
        self._cores |= dict(zip(names, left, strict=False))
        return names

    def start(self, name: str, environment: Mapping[str, str]) -> subprocess.Popen:
        """See `Hosts`."""
        process = started(
            self.program,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(self.held),
            start_new_session=True,
        )
        if name in self._cores:
            # It has one thread yet; all others will stay where this one is. Some containers forbid it.
            with suppress(OSError):
                os.sched_setaffinity(process.pid, self._cores[name])
        return process

    def lose(self, name: str) -> None:
        """See `Hosts`; another takes its place."""
