"""What is predicted of clusters, against published figures and an exact simulation."""

import numpy as np
import pytest

from tests.benchmarks.cluster import (
    ATTAINED,
    NVLINK,
    PUBLISHED,
    RESNET_50,
    TCP_25,
    Job,
    Published,
    evenly,
    message_s,
    ring_s,
    step_s,
)

# Stragglers, which nothing here knows of, and how networks are wired; see the published figures.
ERROR = 0.05


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda each: each.job.name)
def test_published_efficiencies_are_predicted(published: Published) -> None:
    assert published.predicted == pytest.approx(published.efficiency, abs=ERROR)


def simulated_ring(
    values: np.ndarray, latency_s: float, bytes_per_s: float
) -> tuple[np.ndarray, float]:
    """Processes that really pass parts around: the sums that they have, and when the last one has."""
    count, size = values.shape
    parts = np.array_split(np.arange(size), count)
    held, ready = values.astype(np.float64), np.zeros(count)
    for move in range(2 * (count - 1)):
        adds = move < count - 1
        before, started = held.copy(), ready.copy()
        for process in range(count):
            source = (process - 1) % count
            part = parts[(source - move + (not adds)) % count]
            part = part if adds else parts[(source + 1 - (move - count + 1)) % count]
            held[process, part] = before[source, part] + (before[process, part] if adds else 0)
            # A part leaves when its sender has it and has sent the one before.
            ready[process] = (
                max(started[process], started[source]) + latency_s + 4 * len(part) / bytes_per_s
            )
    return held, float(ready.max())


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_a_ring_takes_as_long_as_its_simulation_which_adds_up_right(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(count, 120))
    held, seconds = simulated_ring(values, TCP_25.latency_s, ATTAINED * TCP_25.bytes_per_s)
    np.testing.assert_allclose(held, np.broadcast_to(values.sum(axis=0), held.shape), atol=1e-12)
    assert ring_s(4 * 120, count, TCP_25) == pytest.approx(seconds, rel=1e-9)


def test_a_step_is_as_long_as_its_simulation_moment_by_moment() -> None:
    job = Job("small", 0.03, ((0.2, 100e3), (0.5, 300e3), (0.3, 200e3)), 1)
    tick, clock, made, queue, busy_until = 1e-6, 0.0, 0, [], 0.0
    ends = 0.01 + 0.02 * np.cumsum([0.2, 0.5, 0.3])
    while made < 3 or queue or clock < busy_until:
        clock += tick
        if made < 3 and clock >= ends[made]:
            queue.append(4 * job.layers[made][1])
            made += 1
        if queue and clock >= busy_until:
            busy_until = clock + message_s(queue.pop(0), 4, TCP_25)
    found = step_s(job, 4, TCP_25, bucket_bytes=1)
    assert found == pytest.approx(clock, abs=5 * tick)
    assert found > job.step_s


def test_one_process_waits_for_nobody_and_more_bytes_take_longer() -> None:
    assert step_s(RESNET_50, 1, TCP_25) == pytest.approx(RESNET_50.step_s)
    half, whole = (step_s(RESNET_50, 256, TCP_25, number_bytes=size) for size in (2, 4))
    assert RESNET_50.step_s < half < whole
    # On one machine no message leaves it.
    assert message_s(1e6, 8, TCP_25, machine=8) == ring_s(1e6, 8, NVLINK)
    assert sum(numbers for _, numbers in evenly(25.6e6)) == pytest.approx(25.6e6)
