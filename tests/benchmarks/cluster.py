"""Predicts, on paper, how fast clusters train: what a step computes, and what it waits for messages.

    python -m tests.benchmarks.scaling --predict

A third of a step is its forward pass, the rest its backward pass, which makes gradients bucket by
bucket, the last layers' first. Buckets travel one after the other in a ring (Patarasuk & Yuan, 2009):
of p processes each sends 2 (p - 1) parts of 1/p of the bytes. Where machines have several, a ring in
each of them comes first, and what it has added up goes around the machines. What is still on its way
when the backward pass ends is waited for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pocketkube.training.buckets import BUCKET_BYTES

_FORWARD = 1 / 3
# Of a link's speed, what messages reach: fitted to the published efficiency of VGG-16 alone.
ATTAINED = 0.77
_MACHINE = 8


@dataclass(frozen=True)
class Link:
    """What connects machines.

    Attributes:
        name: What it is called.
        bytes_per_s: Its nominal speed, in each direction.
        latency_s: Of a message between two neighbours of the ring.
    """

    name: str
    bytes_per_s: float
    latency_s: float


@dataclass(frozen=True)
class Job:
    """What a process computes in a step.

    Attributes:
        name: The network, the accelerator and where the step's time is from.
        step_s: A step of one process that trains alone.
        layers: Numbers trained in the order in which the backward pass makes their gradients, as parts
            of the backward pass's time and counts of numbers.
        examples: Of a step.
        unit: What examples are.
    """

    name: str
    step_s: float
    layers: tuple[tuple[float, float], ...]
    examples: float
    unit: str = "images"


def evenly(numbers: float, parts: int = 50) -> tuple[tuple[float, float], ...]:
    """Layers that take equally long and have equally many numbers."""
    return ((1 / parts, numbers / parts),) * parts


def ring_s(size: float, processes: int, link: Link) -> float:
    """Seconds in which a ring of processes adds up a message of `size` bytes."""
    if processes == 1:
        return 0.0
    moves = 2 * (processes - 1)
    return moves * (link.latency_s + size / processes / (ATTAINED * link.bytes_per_s))


def message_s(size: float, processes: int, link: Link, machine: int = 1) -> float:
    """Seconds in which all processes add up a message, `machine` of them on each machine."""
    inside = min(machine, processes)
    return ring_s(size, inside, NVLINK) + ring_s(size, math.ceil(processes / inside), link)


def step_s(
    job: Job,
    processes: int,
    link: Link,
    *,
    machine: int = 1,
    bucket_bytes: float = BUCKET_BYTES,
    number_bytes: int = 4,
) -> float:
    """Seconds of a step of several processes, with messages and computation at the same time.

    Args:
        job: What each computes.
        processes: How many there are.
        link: What connects machines.
        machine: Processes of a machine; one, too, where one ring goes through all of them.
        bucket_bytes: Of a message, at least, but for the last one.
        number_bytes: Of a gradient's number on its way.
    """
    computed = job.step_s * _FORWARD
    backward, free, filled = job.step_s - computed, 0.0, 0.0
    for place, (part, numbers) in enumerate(job.layers):
        computed += part * backward
        filled += numbers * number_bytes
        if filled >= bucket_bytes or place == len(job.layers) - 1:
            free = max(free, computed) + message_s(filled, processes, link, machine)
            filled = 0.0
    return max(free, job.step_s)


# Of a P100: four of 20 GB/s in each direction.
NVLINK = Link("NVLink", 80e9, 3e-6)
# Nominal speeds; latencies are what vendors and MPI benchmarks say of neighbours, software included.
ETHERNET_25 = Link("25 Gb/s RoCE", 25e9 / 8, 5e-6)
ETHERNET_100 = Link("100 Gb/s RoCE", 100e9 / 8, 5e-6)
INFINIBAND_200 = Link("200 Gb/s InfiniBand HDR", 200e9 / 8, 2e-6)
TCP_25 = Link("25 Gb/s TCP", 25e9 / 8, 30e-6)
LINKS = (TCP_25, ETHERNET_25, ETHERNET_100, INFINIBAND_200)

# Images a second of one P100 with 64 of them a step and synthetic data, as TensorFlow's performance
# pages gave them in 2017; ResNet-101 lies between ResNet-50 and ResNet-152 by its multiply-adds, 7.6 of
# 3.9 and 11.3 billion (He et al., 2015).
_P100 = {"Inception V3": 142.0, "ResNet-50": 219.0, "ResNet-152": 91.8, "VGG-16": 154.0}
_PER_IMAGE = {name: 1 / rate for name, rate in _P100.items()}
_RESNET_101 = _PER_IMAGE["ResNet-50"] + (7.6 - 3.9) / (11.3 - 3.9) * (
    _PER_IMAGE["ResNet-152"] - _PER_IMAGE["ResNet-50"]
)
# VGG-16's three dense layers, 124 of its 138 million numbers, are less than a hundredth of its
# multiply-adds, and come first on the way back.
_VGG = ((0.01, 4.1e6 + 16.8e6), (0.01, 102.8e6), *((0.98 * part, n) for part, n in evenly(14.7e6)))

RESNET_50 = Job("ResNet-50, P100", 64 / _P100["ResNet-50"], evenly(25.6e6), 64)
# A base model's step took 0.4 s on 8 P100, with some 25,000 tokens of each language (Vaswani et al.,
# 2017): what its 8 processes told each other is in it, so that it is computed in less.
TRANSFORMER = Job("Transformer-base, P100", 0.4, evenly(65e6), 25000 / 8, "target tokens")
# Supposed: the same on accelerators that compute eight times as fast. Links matter more then.
JOBS = (
    RESNET_50,
    replace(RESNET_50, name="ResNet-50, 8 times as fast", step_s=RESNET_50.step_s / 8),
    TRANSFORMER,
    replace(TRANSFORMER, name="Transformer-base, 8 times as fast", step_s=TRANSFORMER.step_s / 8),
)


@dataclass(frozen=True)
class Published:
    """An efficiency that others have measured.

    Attributes:
        job: What was trained.
        processes: On how many accelerators.
        link: What connected them.
        efficiency: Against one.
    """

    job: Job
    processes: int
    link: Link
    efficiency: float

    @property
    def predicted(self) -> float:
        """The same on paper, with the messages of 64 MB that Horovod made then."""
        step = step_s(self.job, self.processes, self.link, bucket_bytes=64 << 20)
        return self.job.step_s / step


# Sergeev & Del Balso, 2018 (arXiv:1802.05799), and Horovod's docs/benchmarks.rst: 128 servers with four
# P100 each, connected by 25 Gb/s with RDMA.
PUBLISHED: Sequence[Published] = (
    Published(Job("Inception V3", 64 / 142, evenly(23.8e6), 64), 512, ETHERNET_25, 0.90),
    Published(Job("ResNet-101", 64 * _RESNET_101, evenly(44.5e6), 64), 512, ETHERNET_25, 0.90),
    Published(Job("VGG-16", 64 / 154, _VGG, 64), 512, ETHERNET_25, 0.68),
)


def main() -> None:
    """Prints what is predicted, and beside it what others have measured."""
    print("Predictions, not measurements; checked against published ones:\n")
    print("| network | GPUs | link | predicted | published |\n| --- | --- | --- | --- | --- |")
    for each in PUBLISHED:
        cells = [each.job.name, str(each.processes), each.link.name, f"{each.predicted:.2f}"]
        print(f"| {' | '.join(cells)} | {each.efficiency:.2f} |")
    sizes = (8, 16, 32, 64, 128, 256)
    for bits, size in ((32, 4), (16, 2)):
        print(f"\nPredicted efficiency (and ms a step), {_MACHINE} GPUs a machine, {bits} bits:\n")
        print(f"| network | link | {' | '.join(f'{count} GPUs' for count in sizes)} |")
        print(f"| --- | --- {'| --- ' * len(sizes)}|")
        for job in JOBS:
            for link in LINKS:
                steps = [
                    step_s(job, count, link, machine=_MACHINE, number_bytes=size) for count in sizes
                ]
                cells = [f"{job.step_s / each:.2f} ({1e3 * each:.0f})" for each in steps]
                print(f"| {job.name} | {link.name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
