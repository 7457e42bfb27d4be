"""Starts a stage in several processes that train together, on this machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from pocketkube.errors import UserError

SIZES = ("OMPI_COMM_WORLD_SIZE", "HOROVOD_SIZE")
RANKS = ("OMPI_COMM_WORLD_RANK", "HOROVOD_RANK")


def started_size() -> int:
    """How many processes this one was started with, itself included."""
    return max(int(os.environ.get(name, "1")) for name in SIZES)


def started_first() -> bool:
    """Whether this process is the first of them, or alone."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def mpirun_command(count: int) -> list[str]:
    """What starts `count` processes on this machine; the program and its arguments follow."""
    command = ["mpirun", "--quiet", "--oversubscribe", "--bind-to", "none", "-np", str(count)]
    if os.geteuid() == 0:
        command.append("--allow-run-as-root")
    # Reading another process's memory directly is forbidden in most containers.
    return [*command, "--mca", "btl_vader_single_copy_mechanism", "none"]


def run_together(arguments: Sequence[str], count: int) -> None:
    """Runs `python -m pocketkube` in `count` processes under mpirun, and waits for them.

    What they print goes to standard error.

    Args:
        arguments: The command line after `pocketkube`.
        count: How many processes; they share the machine's cores.

    Raises:
        UserError: If Horovod or mpirun is missing, or a process refuses its work.
    """
    _refuse_without_horovod(count)
    cores = max(1, (os.cpu_count() or count) // count)
    environment = {"TF_NUM_INTRAOP_THREADS": str(cores), "OMP_NUM_THREADS": str(cores), **os.environ}
    command = [*mpirun_command(count), sys.executable, "-m", "pocketkube", *arguments]
    refusals: list[str] = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as ranks:
        assert ranks.stdout is not None
        try:
            for line in ranks.stdout:
                if line.startswith(UserError.PREFIX):
                    refusals.append(line.removeprefix(UserError.PREFIX).strip())
                elif line.strip():
                    print(line, end="", file=sys.stderr, flush=True)
        except BaseException:
            ranks.terminate()
            raise
    if ranks.returncode and refusals:
        raise UserError(refusals[0])
    if ranks.returncode:
        raise UserError(
            f"A training process ended with code {ranks.returncode}; its last lines are above."
        )


def _refuse_without_horovod(count: int) -> None:
    missing = [
        *(["Horovod (make horovod)"] if find_spec("horovod") is None else []),
        *(["mpirun (Debian: apt install openmpi-bin)"] if shutil.which("mpirun") is None else []),
    ]
    if missing:
        raise UserError(
            f"training.workers: {count} processes need {' and '.join(missing)}, which is not there; "
            "install it, or set workers to 1."
        )
