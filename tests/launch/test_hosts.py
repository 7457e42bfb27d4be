"""Where processes of a group run on this machine."""

import json
import os
import sys

import pytest

from pocketkube.launch.elastic.hosts import ThisMachine

CORES = sorted(os.sched_getaffinity(0))
TELL = "import json, os; print(json.dumps(sorted(os.sched_getaffinity(0))))"


def cores_of(hosts: ThisMachine, name: str) -> list[int]:
    process = hosts.start(name, {})
    said, _ = process.communicate()
    return json.loads(said)


@pytest.mark.skipif(len(CORES) < 2, reason="one core cannot be divided")
def test_each_has_its_own_cores_and_who_comes_later_those_that_are_free() -> None:
    # Python takes longer to start than the parent to say where.
    hosts = ThisMachine([sys.executable, "-c", f"import time; time.sleep(0.2); {TELL}"])
    first, second = hosts.free([], 2)
    half = len(CORES) // 2
    assert cores_of(hosts, first) == CORES[:half]
    assert cores_of(hosts, second) == CORES[half:]
    (third,) = hosts.free([second], 2)
    assert cores_of(hosts, third) == CORES[:half]
    assert sorted(os.sched_getaffinity(0)) == CORES


def test_more_processes_than_cores_run_anywhere() -> None:
    hosts = ThisMachine([sys.executable, "-c", TELL])
    names = hosts.free([], len(CORES) + 1)
    assert len(names) == len(CORES) + 1
    assert cores_of(hosts, names[0]) == CORES
