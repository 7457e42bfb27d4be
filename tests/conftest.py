"""In which order files are given to several workers, and how much fuzzing tests try."""

import gc
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pocketkube.processes.cores import take_share

# What a slow test takes, in others.
_SLOW = 20


# A gate that is started in the background hands down that SIGINT is ignored.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# What gRPC does in a process that is forked, as some tests do, ends it while its threads are at work.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
# TensorFlow makes many small objects: looking for garbage among them as often as Python does is slow.
gc.set_threshold(20_000, 10, 10)
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    # Two workers of two threads each on two cores take a third more of them.
    take_share(int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what makes long tests longer."""
    parser.addoption("--kills", type=int, default=2, help="kills of tests/faults (default: 2)")
    parser.addoption(
        "--fuzz",
        type=int,
        metavar="N",
        help="try N new examples in each fuzzing test; without it few, always the same",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Sets the profile that `tests.fuzzing` builds on."""
    examples = config.getoption("--fuzz")
    settings.register_profile(
        "fuzzing",
        max_examples=examples or 1,
        derandomize=examples is None,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the files that take longest first: none of them is left for one worker in the end."""
    if not hasattr(config, "workerinput"):
        return
    work: Counter[Path] = Counter()
    for item in items:
        work[item.path] += _SLOW if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: -work[item.path])
