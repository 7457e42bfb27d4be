"""In which order files are given to several workers."""

from collections import Counter
from pathlib import Path

import pytest

# What a slow test takes, in others.
_SLOW = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what makes long tests longer."""
    parser.addoption("--kills", type=int, default=2, help="kills of tests/faults (default: 2)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the files that take longest first: none of them is left for one worker in the end."""
    if not hasattr(config, "workerinput"):
        return
    work: Counter[Path] = Counter()
    for item in items:
        work[item.path] += _SLOW if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: -work[item.path])
