"""Shares a call among several processes of this machine, with mpirun and Horovod."""

import os
import shutil
import sys
from importlib.util import find_spec

from pocketkube.errors import UserError
from pocketkube.launch.job import Call
from pocketkube.launch.processes import ProcessJob


class MpiRun:
    """Runs each call in several Horovod ranks, which share the machine's cores.

    Args:
        processes: How many ranks, at least 2.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def start(self, call: Call) -> ProcessJob:
        """See `Launcher`.

        Raises:
            UserError: If the stage does not share its work, or Horovod or mpirun is missing.
        """
        if not call.shared:
            raise UserError(
                f"{call.stage} does not share its work: it runs in one process, not in "
                f"{self.processes}; set training.workers to 1."
            )
        self._refuse_without_horovod()
        cores = str(max(1, (os.cpu_count() or self.processes) // self.processes))
        environment = {"TF_NUM_INTRAOP_THREADS": cores, "OMP_NUM_THREADS": cores, **os.environ}
        program = [sys.executable, "-m", "pocketkube", *call.argv()]
        return ProcessJob([*mpirun_command(self.processes), "--tag-output", *program], environment)

    def _refuse_without_horovod(self) -> None:
        missing = [
            *(["Horovod (make horovod)"] if find_spec("horovod") is None else []),
            *(["mpirun (Debian: apt install openmpi-bin)"] if shutil.which("mpirun") is None else []),
        ]
        if missing:
            raise UserError(
                f"training.workers: {self.processes} processes need {' and '.join(missing)}, which is "
                "not there; install it, or set workers to 1."
            )


def mpirun_command(count: int) -> list[str]:
    """What starts `count` processes on this machine; the program and its arguments follow."""
    command = ["mpirun", "--quiet", "--oversubscribe", "--bind-to", "none", "-np", str(count)]
    if os.geteuid() == 0:
        command.append("--allow-run-as-root")
    # Reading another process's memory directly is forbidden in most containers.
    return [*command, "--mca", "btl_vader_single_copy_mechanism", "none"]
