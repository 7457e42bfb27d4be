"""Says what this runs on: processor, what it can do, and the versions of the packages."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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
    """

    cpu: str
    cpu_features: tuple[str, ...]
    cores: int
    machine: str
    emulated_on: str | None
    python: str
    packages: dict[str, str]
    when: str


def environment() -> Environment:
    """Describes this machine."""
    facts = _processor_facts()
    listed = set((facts.get("flags") or facts.get("features") or "").split())
    return Environment(
        cpu=_processor_name(facts),
        cpu_features=tuple(feature for feature in _FEATURES if feature in listed),
        cores=_usable_cores(),
        machine=platform.machine(),
        emulated_on=_emulated_on(),
        python=platform.python_version(),
        packages=package_versions(),
        when=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _processor_facts() -> dict[str, str]:
    """The first entry of every key in Linux's /proc/cpuinfo, keys in lower case."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip().lower(), value.strip())
    return facts


def _processor_name(facts: dict[str, str]) -> str:
    """An ARM board tells its name in the device tree, and its core by number only."""
    if facts.get("model name"):
        return facts["model name"]
    try:
        board = Path("/proc/device-tree/model").read_text(encoding="utf-8").strip("\0\n ")
    except OSError:
        board = facts.get("hardware") or facts.get("model") or ""
    core = facts.get("cpu part")
    named = ", ".join(part for part in (board, f"CPU part {core}" if core else "") if part)
    return named or platform.processor() or platform.machine()


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


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
