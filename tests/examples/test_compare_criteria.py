"""The comparison runs each setting once and tells what all of them cost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "compare_criteria.py"
SPEC = """\
model: lenet
dataset: digits
stages: [prune_channels]
target: {speedup: 2}
training: {epochs: 1, batch_size: 64}
benchmark: {runs: 5, threads: [1]}
"""


def compare(folder: Path, *options: str) -> subprocess.CompletedProcess:
    (folder / "spec.yaml").write_text(SPEC)
    command = [sys.executable, SCRIPT, folder / "spec.yaml", "--output", folder / "out", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_rows_are_criteria_and_finished_runs_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def table(criteria: list[str], seeds: list[str]) -> list[list[str]]:
        options = ("--criteria", *criteria, "--speedups", "1.5", "--seeds", *seeds)
        done = compare(tmp_path, *options)
        assert done.returncode == 0, done.stderr
        lines = (out / "table.md").read_text().splitlines()
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]

    def score(criterion: str, seed: int) -> float:
        result = json.loads((out / f"{criterion}-1.5-{seed}" / "result.json").read_text())
        assert result["seed"] == seed
        assert result["spec"]["stages"] == [{"prune_channels": {"criterion": criterion}}]
        assert result["speedup"] >= 1.5
        return 100 * result["after"]["score"]

    rows = table(["l1"], ["0", "1"])
    a, b = score("l1", 0), score("l1", 1)
    assert rows[-1] == ["l1", f"{(a + b) / 2:.2f} ± {abs(a - b) / 2**0.5:.2f}"]
    kept = (out / "l1-1.5-0" / "result.json").stat().st_mtime_ns

    rows = table(["l1", "fpgm"], ["0"])
    assert (out / "l1-1.5-0" / "result.json").stat().st_mtime_ns == kept
    assert [row[0] for row in rows] == ["criterion", "---", "(dense)", "l1", "fpgm"]
    assert [row[1].split()[0] for row in rows[-2:]] == [f"{a:.2f}", f"{score('fpgm', 0):.2f}"]


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    done = compare(tmp_path, "--criteria", "l1", "--speedups", "900", "--seeds", "0")
    assert done.returncode == 1
    assert done.stderr.startswith("l1-900-0 failed: pocketkube: ")
