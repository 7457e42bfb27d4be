"""Which cores this process may run on, as Linux tells it: their kinds, features and clock."""

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pocketkube.benchmarking.core_names import core_name

# Below it, /proc and /sys.
ROOT = Path("/")
# Words for what ARM's kernel has two names for, or a less telling one.
_ALIASES = {"fp16": ("fphp", "asimdhp"), "dotprod": ("asimddp",)}


@dataclass(frozen=True)
class Core:
    """A logical core.

    Attributes:
        number: Linux's number of it.
        implementer: Its maker, as /proc/cpuinfo has it: "0x41" is Arm; x86's vendor_id.
        part: Its kind: "0xd0b" is Arm's Cortex-A76; empty on x86.
        name: What people call it.
        features: All of its features.
        governor: What sets its clock; None where that is not visible.
        max_mhz: Its highest clock; None where that is not visible.
    """

    number: int
    implementer: str
    part: str
    name: str
    features: frozenset[str]
    governor: str | None
    max_mhz: float | None


@dataclass(frozen=True)
class CoreKind:
    """Cores of one kind that a process may run on; see `Core`."""

    name: str
    implementer: str
    part: str
    count: int
    governor: str | None
    max_mhz: float | None

    def __str__(self) -> str:
        number = f" ({self.part})" if self.part and self.part not in self.name else ""
        return f"{self.count} x {self.name}{number}"


@dataclass(frozen=True)
class Processor:
    """What this process may run on.

    Attributes:
        name: The processor's name; of a board with ARM cores, the board and its cores.
        cores: The cores, by their numbers.
    """

    name: str
    cores: tuple[Core, ...]

    @property
    def kinds(self) -> tuple[CoreKind, ...]:
        """The kinds of cores; several where there are big and little ones."""
        alike = Counter((c.name, c.implementer, c.part, c.governor, c.max_mhz) for c in self.cores)
        return tuple(
            CoreKind(name, implementer, part, count, governor, max_mhz)
            for (name, implementer, part, governor, max_mhz), count in alike.items()
        )

    @property
    def features(self) -> frozenset[str]:
        """The features that all of the cores have."""
        return frozenset.intersection(*(core.features for core in self.cores))

    def has(self, feature: str) -> bool:
        """Whether all cores have a feature: as /proc/cpuinfo calls it, or fp16 or dotprod."""
        return set(_ALIASES.get(feature, (feature,))) <= self.features


def processor(root: Path = ROOT, usable: Collection[int] | None = None) -> Processor:
    """What this process may run on now.

    Args:
        root: The folder that holds proc and sys.
        usable: Numbers of the cores that it may run on; those that the system says if None.
    """
    told = _told_of_cores(_text(root / "proc/cpuinfo"))
    allowed = _allowed_cores() if usable is None else usable
    found = [(number, facts) for number, facts in told if not allowed or number in allowed]
    cores = tuple(_core(number, facts, root) for number, facts in found or told or [(0, {})])
    return Processor(_name(cores, dict(told[0][1]) if told else {}, root), cores)


def _told_of_cores(text: str) -> list[tuple[int, dict[str, str]]]:
    """What /proc/cpuinfo says of each core, keys in lower case.

    What stands there once, as old kernels for ARM have it, holds for all cores.
    """
    cores: list[tuple[int, dict[str, str]]] = []
    first: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = (part.strip() for part in line.partition(":"))
        # Old kernels call the model "Processor", and cores "processor".
        if key == "processor" and value.isdigit():
            cores.append((int(value), {}))
        elif colon:
            first.setdefault(key.lower(), value)
            if cores:
                cores[-1][1].setdefault(key.lower(), value)
    return [(number, {**first, **facts}) for number, facts in cores] or ([(0, first)] if first else [])


def _core(number: int, facts: dict[str, str], root: Path) -> Core:
    implementer = facts.get("cpu implementer") or facts.get("vendor_id", "")
    part = facts.get("cpu part", "")
    clock = root / f"sys/devices/system/cpu/cpu{number}/cpufreq"
    khz = _text(clock / "cpuinfo_max_freq").strip()
    return Core(
        number=number,
        implementer=implementer,
        part=part,
        name=core_name(implementer, part) or facts.get("model name", "unknown"),
        features=frozenset((facts.get("flags") or facts.get("features") or "").split()),
        governor=_text(clock / "scaling_governor").strip() or None,
        max_mhz=int(khz) / 1000 if khz.isdigit() else None,
    )


def _name(cores: tuple[Core, ...], facts: dict[str, str], root: Path) -> str:
    """An ARM board tells its name in the device tree; a kernel's "ARMv8 Processor" is no name."""
    if not any(core.part for core in cores):
        return facts.get("model name", "")
    board = _text(root / "proc/device-tree/model").strip("\0\n ")
    board = board or facts.get("model", "") or facts.get("hardware", "")
    names = dict.fromkeys(core.name for core in cores)
    return ", ".join([*([board] if board else []), " and ".join(names)])


def _allowed_cores() -> Collection[int]:
    """None at all where the system does not tell."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
