"""Runs programs in several ranks of this machine with mpirun, as an MPIJob of a fixed size does."""

import os


def mpirun_command(count: int) -> list[str]:
    """What starts `count` processes; the program and its arguments follow."""
    command = ["mpirun", "--quiet", "--oversubscribe", "--bind-to", "none", "-np", str(count)]
    if os.geteuid() == 0:
        command.append("--allow-run-as-root")
    # Reading another process's memory directly is forbidden in most containers.
    return [*command, "--mca", "btl_vader_single_copy_mechanism", "none"]
