"""A job that is a command with processes of its own."""

import contextlib
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import psutil

from pocketkube.launch.lines import lines_by_rank, shown
from pocketkube.launch.outcome import Cause, Outcome, count_oom_kills, outcome_of_process
from pocketkube.processes.children import GRACE_S, started

_LINES_KEPT = 500


class ProcessJob:
    """A command that runs; where it is mpirun with `--tag-output`, each line has its rank.

    The command ends with this process, however that ends: Linux sends it SIGTERM then, once or more
    often.

    Args:
        command: Program and arguments.
        environment: All of its environment.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._oom_kills = count_oom_kills()
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._is_cancelled = False
        # In a session of its own, Ctrl-C reaches this process alone, which then cancels the job.
        self._process = started(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The command's process id."""
        return self._process.pid

    def follow(self) -> Iterator[str]:
        """See `Job`."""
        assert self._process.stdout is not None
        for rank, text in lines_by_rank(self._process.stdout):
            self._lines.append(text)
            if line := shown(rank, text):
                yield line

    def cancel(self) -> None:
        """See `Job`."""
        if self._process.poll() is not None:
            return
        self._is_cancelled = True
        # Ranks have process groups of their own: they are found by their parents, while these live.
        processes = [psutil.Process(self.pid)]
        with contextlib.suppress(psutil.Error):
            processes += processes[0].children(recursive=True)
        self._process.terminate()
        _, alive = psutil.wait_procs(processes, GRACE_S)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, GRACE_S)

    @property
    def outcome(self) -> Outcome:
        """See `Job`."""
        for _ in self.follow():
            pass
        code = self._process.wait()
        if self._is_cancelled:
            return Outcome(128 + signal.SIGTERM, Cause.INTERRUPTED, "It was cancelled.")
        # Ranks of other jobs may be killed meanwhile: this tells a likely cause, not a sure one.
        killed = count_oom_kills() > self._oom_kills
        return outcome_of_process(code, list(self._lines), oom_killed=killed)
