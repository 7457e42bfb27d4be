"""Refuses to measure on a node that is not what a spec's cluster section asks for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pocketkube.benchmarking.core_names import core_name, same_part
from pocketkube.benchmarking.processor import Processor
from pocketkube.errors import UserError
from pocketkube.spec.sections import BenchmarkPods

# Kubernetes' words for what uname calls a machine.
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
_ARM = "0x41"


def arch_of(machine: str) -> str:
    """What Kubernetes calls an architecture: arm64 for aarch64."""
    return _ARCHES.get(machine, machine)


def asked_cores(asked: BenchmarkPods, here: Processor, machine: str, node: str | None) -> list[int]:
    """The numbers of the cores that a benchmark may run on, of those that it was given.

    Where there are cores of several kinds, as big and little ones, they are those of the kind that is
    asked for.

    Args:
        asked: What is asked for.
        here: The cores.
        machine: Their architecture, as uname has it.
        node: What messages call the machine; None for "this machine".

    Raises:
        UserError: If they are not what is asked for: nothing may be measured then.
    """
    cores = [core for core in here.cores if not asked.cpu_part or same_part(core.part, asked.cpu_part)]
    chosen = Processor(here.name, tuple(cores) or here.cores)
    missing = [feature for feature in asked.features if not chosen.has(feature)]
    if asked.arch in ("any", arch_of(machine)) and cores and not missing:
        return [core.number for core in cores]
    found = f"{arch_of(machine)} with {' and '.join(map(str, here.kinds))}"
    without = f", without {', '.join(missing)}" if missing else ""
    raise UserError(
        f"cluster.benchmark asks for {_words(asked)}, but {node or 'this machine'} is "
        f"{found}{without}: nothing was measured."
    )


@contextmanager
def kept_on(cores: list[int]) -> Iterator[None]:
    """Keeps this thread, and the threads and processes that it starts, on some cores meanwhile."""
    if not hasattr(os, "sched_getaffinity") or os.sched_getaffinity(0) == {*cores}:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _words(asked: BenchmarkPods) -> str:
    words: list[str] = [] if asked.arch == "any" else [asked.arch]
    if asked.cpu_part:
        # Parts are numbered by each maker anew; a spec names Arm's as a rule.
        name = core_name(_ARM, asked.cpu_part)
        words.append(f"CPU part {asked.cpu_part}" + ("" if asked.cpu_part in name else f" ({name})"))
    return ", ".join([*words, *asked.features])
