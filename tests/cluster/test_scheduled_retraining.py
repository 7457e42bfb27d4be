"""The pipeline scheduled-retraining on a back end: three partitions, two of which make a version."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketkube.retraining.registry import Registry
from pocketkube.storage import S3Address, S3Location, parse_uri
from pocketkube.storage.server import connect
from tests.cluster.backend import Backend, executors, start, wait
from tests.retraining.data import SPEC, digits

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package(packages: Path) -> Path:
    return packages / "scheduled_retraining.yaml"


def put(place: S3Address, name: str, content: bytes) -> None:
    connect(place).client.put_object(
        place.bucket, place.object(name), io.BytesIO(content), len(content)
    )


def add_partition(place: S3Address, name: str, part: int, *, inverted: bool = False) -> None:
    """A folder with a file, and then the marker that says so."""
    content = io.BytesIO()
    np.savez(content, **digits(part, inverted=inverted))
    put(place, f"{name}/data.npz", content.getvalue())
    put(place, f"{name}/_SUCCESS", b"")


def test_a_version_is_made_where_the_data_ask_for_it(
    backend: Backend, package: Path, store: str
) -> None:
    place = parse_uri(store)
    data = S3Address(place.bucket, place.object("data"))
    registry = Registry(S3Location(S3Address(place.bucket, place.object("registry"))))
    given: dict[str, Any] = {
        "partitions": str(data),
        "registry": str(registry.place),
        "epochs": 6,
        "batch_size": 32,
        "gate_score_drop": 0.1,
        "gate_size_growth": 1.0,
        "gate_latency_growth": 20.0,
        "settings": {"benchmark": SPEC["benchmark"]},
    }

    def run() -> set[str]:
        """The tasks of a run that has succeeded."""
        ident = start(backend, package, given)
        assert wait(backend, ident, seconds=900) == "succeeded"
        return set(executors(backend, ident))

    add_partition(data, "2026-11-01", 0)
    first = run()
    assert any("retrain-model" in task for task in first)
    pointer = registry.deployed()
    assert pointer is not None
    assert pointer.version.startswith("2026-11-01-")

    add_partition(data, "2026-11-02", 1)
    assert not any("retrain-model" in task for task in run())
    assert registry.versions() == [pointer.version]

    add_partition(data, "2026-11-03", 2, inverted=True)
    run()
    found = registry.deployed()
    assert found is not None
    assert found.version.startswith("2026-11-03-")
    assert registry.facts(found.version).parent == pointer.version
    assert registry.facts(found.version).gate.opponent == pointer.version
