"""Shares a call among several processes of this machine, which train together with Horovod."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.launch.job import Call
from pocketkube.launch.processes import ProcessJob
from pocketkube.processes.cores import threads_of_each
from pocketkube.processes.python_path import python_path


class LocalWorkers:
    """Runs each call in several processes, which share the machine's cores.

    Where one is killed, the others go on from the last checkpoint, which all have in memory, and a new
    one takes its place (`pocketkube.launch.elastic`).

    Args:
        processes: How many, at least 2.
        lease: A file that is held until all of them have ended.
    """

    def __init__(self, processes: int, lease: Path | None = None) -> None:
        self.processes, self._lease = processes, lease

    def start(self, call: Call) -> ProcessJob:
        """See `Launcher`.

        Raises:
            UserError: If the stage does not share its work, or Horovod is missing.
        """
        if not call.shared:
            raise UserError(
                f"{call.stage} does not share its work: it runs in one process, not in "
                f"{self.processes}; set training.workers to 1."
            )
        if find_spec("horovod") is None:
            raise UserError(
                f"training.workers: {self.processes} processes need Horovod (make horovod), which is "
                "not there; install it, or set workers to 1."
            )
        environment = {
            **threads_of_each(self.processes),
            **os.environ,
            "PYTHONPATH": python_path(),
        }
        lease = ["--lease", str(self._lease)] if self._lease else []
        options = ["--processes", str(self.processes), "--path", _own_path(), *lease]
        # -P: a user's signal.py in the current folder must not stand in for Python's own.
        words = ["-P", "-m", "pocketkube.launch.elastic", *options, "--", *call.argv()]
        return ProcessJob([sys.executable, *words], environment)


def _own_path() -> str:
    """Where this process finds modules, as the current folder or that of the user's script."""
    folders = [str(Path(folder).absolute()) for folder in sys.path if Path(folder).exists()]
    return os.pathsep.join(folders)
