"""The kernel's leave to run aarch64 programs on a machine of the cluster, by qemu."""

from pathlib import Path

from tests.cluster.machine import Machine


def start_emulation(machine: Machine, name: str) -> None: ...
def stop_emulation(name: str) -> None: ...
