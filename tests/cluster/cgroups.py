"""The control groups of a cluster: what limits its pods, and how all its processes are found again.

Every process of a cluster is in a group named for it, so that it can be taken down with nothing kept
but that name.
"""

import errno
import os
import shlex
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.missing import Missing

_ROOT = Path("/sys/fs/cgroup")
_PROGRAMS = "programs"
_COMMON = {"rw", "nosuid", "nodev", "noexec", "relatime", "seclabel"}


def hierarchies() -> dict[Path, str]:
    """Where this machine's hierarchies are mounted, and with which options.

    One hierarchy with the option "" is version 2; several are version 1's.
    """
    if (_ROOT / "cgroup.controllers").is_file():
        return {_ROOT: ""}
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return {
        Path(place): ",".join(option for option in options.split(",") if option not in _COMMON)
        for _, place, kind, options, *_ in lines
        if kind == "cgroup"
    }


def create(group: str) -> None:
    """Makes a group in every hierarchy.

    Raises:
        Missing: If this machine's processes leave no room for one.
    """
    for root in hierarchies():
        folder = root
        for part in Path(group).parts:
            folder = folder / part
            folder.mkdir(exist_ok=True)
            if root.name == "cpuset":
                # A group without cores or memory takes no process.
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (folder / file).write_text((folder.parent / file).read_text())
            if not hierarchies()[root]:
                _enable_controllers(folder.parent)


def _enable_controllers(parent: Path) -> None:
    controllers = (parent / "cgroup.controllers").read_text().split()
    try:
        (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # Only the real root may have both processes and groups with limits.
        raise Missing(
            f"{parent} holds processes and is not this machine's root group, as in a container with a "
            "cgroup namespace of its own: start the container with --cgroupns=host"
        ) from None


def joining(group: str, command: Sequence[str], *, first: bool = False) -> list[str]:
    """A command that runs another in a group.

    Args:
        group: The group.
        command: Program and arguments of the other.
        first: Whether it is to become the root of a namespace of control groups.
    """
    lines = [
        f"echo $$ > {shlex.quote(str(root / group if options or first else root / group / _PROGRAMS))}"
        "/cgroup.procs"
        for root, options in hierarchies().items()
    ]
    return ["sh", "-c", " && ".join([*lines, 'exec "$@"']), "sh", *command]


def settle(group: str) -> list[str]:
    """Shell commands by which the first process of a group lets there be groups below it.

    Version 2 limits what is in groups only where no process is in a group above.
    """
    lines = []
    for root, options in hierarchies().items():
        if not options:
            place = shlex.quote(str(root / group))
            lines += [
                f"mkdir -p {place}/{_PROGRAMS}",
                f"echo $$ > {place}/{_PROGRAMS}/cgroup.procs",
                f"sed 's/[^ ]*/+&/g' {place}/cgroup.controllers > {place}/cgroup.subtree_control",
            ]
    return lines


def remove(group: str) -> int:
    """Ends every process in a group, and removes it.

    Returns:
        How many processes there were.

    Raises:
        OSError: If a process or a group does not go.
    """
    found = processes(group)
    ended = time.monotonic() + 30
    while left := processes(group):
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
        if time.monotonic() > ended:
            raise OSError(f"these processes of {group} do not end: {sorted(left)}")
    for root in hierarchies():
        for folder, _, _ in os.walk(root / group, topdown=False):
            while not _is_removed(Path(folder)):
                if time.monotonic() > ended:
                    raise OSError(f"the control group {folder} does not go")
                time.sleep(0.05)
    return len(found)


def processes(group: str) -> set[int]:
    """The processes in a group and in those below it."""
    return {
        process
        for root in hierarchies()
        for folder, _, _ in os.walk(root / group)
        for process in _processes_in(Path(folder))
    }


def _processes_in(folder: Path) -> list[int]:
    try:
        return [int(process) for process in (folder / "cgroup.procs").read_text().split()]
    except OSError as error:
        # Groups of pods go while they are looked through.
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return []
        raise


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        # A process that has ended counts until the kernel has let go of it.
        if error.errno != errno.EBUSY:
            raise
        return False
    return True
