"""What Kubeflow's cache is told of what a spec's addresses hold."""

from pathlib import Path

import numpy as np
import pytest

from components.compression.check_addresses import check_addresses

STAGES = [{"name": "prune_channels"}]


def held(file: Path) -> str:
    (found,) = check_addresses.python_func(
        model="lenet", stages=STAGES, dataset={"npz": str(file)}, target={"speedup": 2}
    )
    return found


def test_it_changes_with_the_data_and_not_without(tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    np.savez(file, x=np.zeros((4, 8, 8, 1)), y=np.arange(4))
    first = held(file)
    assert first
    assert held(file) == first
    np.savez(file, x=np.zeros((5, 8, 8, 1)), y=np.arange(5))
    assert held(file) != first


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^pocketkube: dataset: there is no .*data\.npz in the image"):
        held(tmp_path / "data.npz")
