"""Says what this runs on: processor, what it can do, and the versions of the packages."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from pocketkube.benchmarking.processor import CoreKind, processor
from pocketkube.processes.cores import usable_cores

# The variable that holds a pod's node, set where a pod of ours measures.
NODE = "POCKETKUBE_NODE"
# What decides how fast a network runs, of the hundred or so features that a processor lists.
_FEATURES = (
    "sse4_1",
    "ssse3",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "neon",
    "asimd",
    "fphp",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
    "sme",
)
_PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "keras": ("keras",),
    "ai-edge-litert": ("ai-edge-litert",),
    "numpy": ("numpy",),
    "kfp": ("kfp",),
    "pocketkube": ("pocketkube",),
}


@dataclass(frozen=True)
class Environment:
    """The machine and its software.

    Attributes:
        cpu: The processor's name.
        cpu_features: Those of its instruction sets that matter to a network, as Linux names them.
        cores: Number of logical cores that this process may use.
        machine: Architecture, as in "x86_64" or "aarch64".
        emulated_on: Architecture of the processor that plays `machine`, whose times then mean nothing;
            None where it is real.
        python: Python's version.
        packages: Version by package, of those that are installed.
        when: Time in UTC, ISO 8601.
        core_kinds: The cores that it may use, by their kinds; empty in files of before they were told.
        node: The cluster's name of the machine; None elsewhere.
    """

    cpu: str
    cpu_features: tuple[str, ...]
    cores: int
    machine: str
    emulated_on: str | None
    python: str
    packages: dict[str, str]
    when: str
    core_kinds: tuple[CoreKind, ...] = ()
    node: str | None = None


def environment() -> Environment:
    """Describes this machine."""
    found = processor()
    return Environment(
        cpu=found.name or platform.processor() or platform.machine(),
        cpu_features=tuple(feature for feature in _FEATURES if feature in found.features),
        cores=usable_cores(),
        machine=platform.machine(),
        emulated_on=_emulated_on(),
        python=platform.python_version(),
        packages=package_versions(),
        when=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        core_kinds=found.kinds,
        node=os.environ.get(NODE) or None,
    )


def _emulated_on() -> str | None:
    """The kernel's architecture where it is another than this program's.

    An emulator of user programs (qemu-aarch64) answers uname for the kernel, but not for this file,
    which Linux has since 6.1. A 64-bit kernel runs 32-bit programs of its own kind by itself.
    """
    try:
        kernel = Path("/proc/sys/kernel/arch").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    families = {"i686": "x86_64", "armv7l": "aarch64", "armv8l": "aarch64"}
    machine = platform.machine()
    return None if kernel in (machine, families.get(machine)) else kernel


def shown_machine(machine: str, emulated_on: str | None) -> str:
    """An architecture in words that say whether it was real."""
    return f"emulated {machine} (on {emulated_on})" if emulated_on else machine


class Place(Protocol):
    """What is told of where a benchmark ran; see `Environment`."""

    @property
    def cpu(self) -> str: ...  # noqa: D102

    @property
    def cores(self) -> int: ...  # noqa: D102

    @property
    def machine(self) -> str: ...  # noqa: D102

    @property
    def emulated_on(self) -> str | None: ...  # noqa: D102

    @property
    def node(self) -> str | None: ...  # noqa: D102


def shown_place(place: Place) -> str:
    """A machine in words: its processor, cores, architecture and, on a cluster, its name."""
    words = f"{place.cpu}, {place.cores} cores, {shown_machine(place.machine, place.emulated_on)}"
    return f"{words}, on {place.node}" if place.node else words


def doubts(place: Environment) -> tuple[str, ...]:
    """Why times of a machine are not to be trusted, whatever they are."""
    found = []
    if place.emulated_on:
        machine = shown_machine(place.machine, place.emulated_on)
        found.append(f"The machine was an {machine}: its times say nothing of a real one.")
    names = list(dict.fromkeys(str(kind) for kind in place.core_kinds))
    if len({kind.name for kind in place.core_kinds}) > 1:
        found.append(
            f"The cores are of several kinds ({', '.join(names)}): runs may have moved between them."
        )
    return tuple(found)


def package_versions() -> dict[str, str]:
    """Version by package, of those that matter here and are installed."""
    found: dict[str, str] = {}
    for package, distributions in _PACKAGES.items():
        for distribution in distributions:
            try:
                found.setdefault(package, version(distribution))
            except PackageNotFoundError:
                continue
    return found
