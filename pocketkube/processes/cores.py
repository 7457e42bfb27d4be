"""The cores of a machine, or of a container, and what processes that work side by side have of them."""

import itertools
import os
from pathlib import Path

# TensorFlow's and BLAS's own: how many threads compute one operation.
THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
# How many ranks mpirun has started on this machine.
_RANKS_HERE = "OMPI_COMM_WORLD_LOCAL_SIZE"
_CGROUP = Path("/sys/fs/cgroup")
_CORES, _TOPOLOGY = Path("/sys/devices/system/cpu"), ("physical_package_id", "core_id")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """How many cores this process may use: as many as it may run on, within its container's limit.

    Args:
        cgroup: Where the limits of version 2 or 1 are.
    """
    cores = len(_allowed()) or os.cpu_count() or 1
    limit = _limit(cgroup)
    return cores if limit is None else max(1, min(cores, int(limit)))


def cores_of_each(processes: int, cgroup: Path = _CGROUP) -> list[set[int]]:
    """Cores of their own for each of several processes of this machine, neighbours together.

    Threads that wander take caches from each other: two ranks of ResNet-20 on two cores train 1.26
    times as fast where each stays on its own (`python -m tests.benchmarks.scaling`).

    Args:
        processes: How many.
        cgroup: See `usable_cores`.

    Returns:
        Their numbers; nothing where there is no core for each, or where a container's limit is one of
        time: other containers of the node would all choose the same cores.
    """
    cores = sorted(_allowed(), key=_place)
    if len(cores) < processes or usable_cores(cgroup) < len(cores):
        return []
    ends = [place * len(cores) // processes for place in range(processes + 1)]
    return [set(cores[start:end]) for start, end in itertools.pairwise(ends)]


def threads_of_each(processes: int) -> dict[str, str]:
    """The environment of each of several processes of this machine, so that all have a core a thread.

    TensorFlow by itself takes as many threads as the node has cores, whatever a pod's limit is.
    """
    threads = str(max(1, usable_cores() // processes))
    return dict.fromkeys(THREADS, threads)


def share_with_ranks_beside() -> None:
    """Takes this process's share of threads, where mpirun has started it beside others.

    What the user has set stays. To be called before anything is imported that computes.
    """
    if _RANKS_HERE in os.environ:
        take_share(int(os.environ[_RANKS_HERE]))


def take_share(processes: int) -> None:
    """Takes the threads of one of several processes; what the user has set stays."""
    for name, threads in threads_of_each(processes).items():
        os.environ.setdefault(name, threads)


def _allowed() -> set[int]:
    """The numbers of the cores that this process may run on; none where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _place(core: int) -> tuple[int, int, int]:
    """Where a core is: threads of one core, and cores of one package, are neighbours."""
    folder = _CORES / f"cpu{core}" / "topology"
    try:
        package, inner = (int((folder / name).read_text()) for name in _TOPOLOGY)
    except (OSError, ValueError):
        package = inner = 0
    return package, inner, core


def _limit(cgroup: Path) -> float | None:
    """Processor seconds a second."""
    version_2 = cgroup / "cpu.max"
    version_1 = [cgroup / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
    try:
        if version_2.exists():
            quota, period = version_2.read_text().split()
        else:
            quota, period = (file.read_text().strip() for file in version_1)
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None
