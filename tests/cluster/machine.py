"""A machine of the cluster: namespaces of its own on this one.

Mounts, network, processes and names that a machine has go with it: once its first process has ended,
the kernel takes all of them away, however that came. Nothing is left to be cleaned but its control
group and its folder.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.missing import Missing
from tests.cluster.progress import until

_NAMESPACES = ("mount", "net", "pid", "uts", "ipc", "cgroup")
# Programs keep things in folders of fixed names below these; and the path of a socket may not be long.
_KEPT_APART = ("/var/lib", "/var/log")


@dataclass(frozen=True)
class Machine:
    """A running machine.

    Attributes:
        name: Its host name.
        folder: What it keeps, beside its logs.
        group: Its control group.
        process: Its first process, as this machine counts.
    """

    name: str
    folder: Path
    group: str
    process: int

    def run(self, *command: str | Path, given: bytes | None = None) -> str:
        """Runs a program to its end on the machine.

        Returns:
            What it printed.

        Raises:
            subprocess.CalledProcessError: If it failed.
        """
        done = subprocess.run(
            self._entered(*map(str, command)),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode()

    def start(
        self,
        *command: str | Path,
        environment: Mapping[str, str] | None = None,
        again: bool = False,
    ) -> None:
        """Starts a program that goes on after this process; it writes to the machine's logs.

        Args:
            command: The program and its arguments.
            environment: Variables beside PATH.
            again: Whether it is started again whenever it has ended.
        """
        around = ("bash", "-c", 'while :; do "$@"; sleep 1; done', "again") if again else ()
        with self.log(command[0]).open("ab") as log:
            subprocess.Popen(
                self._entered(*around, *map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], **(environment or {})},
                start_new_session=True,
            )

    def log(self, program: str | Path) -> Path:
        """Where a program writes to."""
        folder = self.folder / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{Path(program).name}.log"

    def _entered(self, *command: str) -> list[str]:
        namespaces = [f"--{name}" for name in _NAMESPACES]
        return cgroups.joining(
            self.group, ["nsenter", f"--target={self.process}", *namespaces, "--", *command]
        )


def refuse_unseen(place: Path, setting: str) -> None:
    """Ends with one line where machines would not see a folder of this machine.

    Args:
        place: The folder.
        setting: What names another one.

    Raises:
        Missing: If they have something of their own there.
    """
    for covered in (*_KEPT_APART, "/run"):
        if place.is_relative_to(covered):
            raise Missing(
                f"a cluster's machines have a {covered} of their own and do not see {place}: "
                f"let {setting} name a folder elsewhere"
            )


def start_machine(name: str, folder: Path, group: str, resolver: Path) -> Machine:
    """Starts a machine on which nothing runs yet and whose network has no link.

    Args:
        name: Its host name.
        folder: What it is to keep.
        group: Its control group, which is created.
        resolver: Its /etc/resolv.conf.

    Raises:
        Stuck: If it does not come up.
    """
    folder.mkdir(parents=True)
    cgroups.create(group)
    ready, log = folder / "ready", folder / "first-process.log"
    others = [f"--{kind}" for kind in _NAMESPACES if kind != "cgroup"]
    first_process = ["bash", "-c", _first_process(name, folder, resolver, ready)]
    apart = shlex.join(["unshare", *others, "--fork", "--kill-child", "--mount-proc", *first_process])
    settled = "\n".join([*cgroups.settle(group), f"exec {apart}"])
    with log.open("wb") as output:
        outer = subprocess.Popen(
            cgroups.joining(group, ["unshare", "--cgroup", "bash", "-c", settled], first=True),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    until(lambda: ready.exists() or outer.poll() is not None, name, seconds=10, log=log)
    if outer.poll() is not None:
        raise OSError(f"{name} could not be set apart: {log.read_text().strip()}")
    first = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0]
    return Machine(name, folder, group, int(first))


def _first_process(name: str, folder: Path, resolver: Path, ready: Path) -> str:
    lines = [
        "set -e",
        "mount --make-rprivate /",
        f"echo {shlex.quote(name)} > /proc/sys/kernel/hostname",
        # Both show what belongs to the namespaces in which they were mounted.
        "mount -t sysfs sysfs /sys",
        *_mount_cgroups(),
        "mount -t tmpfs tmpfs /run",
        *_mount_resolver(resolver),
        "ip link set lo up",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
    ]
    for place in _KEPT_APART:
        own = shlex.quote(str(folder / place.strip("/").replace("/", "-")))
        lines += [f"mkdir -p {own}", f"mount --bind {own} {place}"]
    # Bash reaps what is orphaned on the machine while it waits.
    lines += [f"touch {shlex.quote(str(ready))}", "while :; do sleep 3600 & wait $!; done"]
    return "\n".join(lines)


def _mount_resolver(resolver: Path) -> list[str]:
    """On systemd-resolved's machines /etc/resolv.conf leads into /run, which is empty by then."""
    return [
        "place=$(readlink -m /etc/resolv.conf)",
        'case $place in /run/*) mkdir -p "${place%/*}"; touch "$place" ;; esac',
        f'mount --bind {shlex.quote(str(resolver))} "$place"',
    ]


def _mount_cgroups() -> list[str]:
    mounts = []
    for place, options in cgroups.hierarchies().items():
        if not options:
            return ["mount -t cgroup2 cgroup2 /sys/fs/cgroup"]
        mounts += [f"mkdir {place}", f"mount -t cgroup -o {options} cgroup {place}"]
    return ["mount -t tmpfs tmpfs /sys/fs/cgroup", *mounts]
