"""What processes that work side by side have of a machine's cores."""

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from pocketkube.processes.cores import (
    THREADS,
    cores_of_each,
    share_with_ranks_beside,
    threads_of_each,
    usable_cores,
)

CORES = len(os.sched_getaffinity(0))


def limited(folder: Path, version: int, quota: str) -> Path:
    """Where a container's limit is written down, of processor microseconds in 100,000."""
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} 100000\n")
    else:
        (folder / "cpu").mkdir()
        (folder / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu/cpu.cfs_period_us").write_text("100000\n")
    return folder


@pytest.mark.parametrize(
    ("version", "quota", "cores"),
    [(2, "max", CORES), (1, "-1", CORES), (2, "150000", 1), (1, "50000", 1), (2, "100000000", CORES)],
)
def test_a_containers_limit_counts(tmp_path: Path, version: int, quota: str, cores: int) -> None:
    assert usable_cores(limited(tmp_path, version, quota)) == cores


def test_cores_that_others_keep_do_not_count(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)


def test_each_process_has_a_thread_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketkube.processes.cores.usable_cores", lambda: 8)
    assert set(threads_of_each(2).values()) == {"4"}
    assert set(threads_of_each(3).values()) == {"2"}
    assert set(threads_of_each(99).values()) == {"1"}


def test_each_process_has_cores_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the system tells nothing of them.
    monkeypatch.setattr("pocketkube.processes.cores._CORES", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3, 1, 2, 7, 9})
    assert cores_of_each(2, tmp_path) == [{1, 2}, {3, 7, 9}]
    assert cores_of_each(5, tmp_path) == [{1}, {2}, {3}, {7}, {9}]
    assert cores_of_each(6, tmp_path) == []
    # Other containers of the node would choose the same.
    assert cores_of_each(2, limited(tmp_path, 2, "400000")) == []
    assert cores_of_each(2, limited(tmp_path, 2, "500000")) == [{1, 2}, {3, 7, 9}]


def test_threads_of_one_core_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As most servers number them: two packages of two cores, whose second threads come last."""
    for number in range(8):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{number // 2 % 2}\n")
        (folder / "core_id").write_text(f"{number % 2}\n")
    monkeypatch.setattr("pocketkube.processes.cores._CORES", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert cores_of_each(2, tmp_path) == [{0, 1, 4, 5}, {2, 3, 6, 7}]
    assert cores_of_each(4, tmp_path) == [{0, 4}, {1, 5}, {2, 6}, {3, 7}]


def test_processes_run_anywhere_where_the_system_tells_no_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.sched_getaffinity")
    assert cores_of_each(2, tmp_path) == []


def test_ranks_that_mpirun_starts_share_the_cores_and_the_user_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OMPI_COMM_WORLD_LOCAL_SIZE", raising=False)
    with patch.dict(os.environ):
        share_with_ranks_beside()
        assert not set(THREADS) & set(os.environ)
        os.environ |= {"OMPI_COMM_WORLD_LOCAL_SIZE": str(CORES), "OMP_NUM_THREADS": "5"}
        share_with_ranks_beside()
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == "1"
        assert os.environ["OMP_NUM_THREADS"] == "5"
