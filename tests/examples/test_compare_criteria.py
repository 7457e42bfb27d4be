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
    options = ("--criteria", "l1", "fpgm", "--speedups", "1.5")
    first = compare(tmp_path, *options, "--seeds", "0")
    assert first.returncode == 0, first.stderr
    out = tmp_path / "out"
    kept = (out / "l1-1.5-0" / "result.json").stat().st_mtime_ns
    both = compare(tmp_path, *options, "--seeds", "0", "1")
    assert both.returncode == 0, both.stderr
    assert (out / "l1-1.5-0" / "result.json").stat().st_mtime_ns == kept

    scores = {}
    for criterion in ("l1", "fpgm"):
        for seed in (0, 1):
            result = json.loads((out / f"{criterion}-1.5-{seed}" / "result.json").read_text())
            assert result["seed"] == seed
            assert result["spec"]["stages"] == [{"prune_channels": {"criterion": criterion}}]
            assert result["speedup"] >= 1.5
            scores[criterion, seed] = 100 * result["after"]["score"]
    rows = [line.split("|")[1:-1] for line in (out / "table.md").read_text().splitlines()]
    assert [row[0].strip() for row in rows] == ["criterion", "---", "(dense)", "l1", "fpgm"]
    for row in rows[-2:]:
        a, b = (scores[row[0].strip(), seed] for seed in (0, 1))
        assert row[1].strip() == f"{(a + b) / 2:.2f} ± {abs(a - b) / 2**0.5:.2f}"


def test_a_run_that_fails_is_named(tmp_path: Path) -> None:
    done = compare(tmp_path, "--criteria", "l1", "--speedups", "900", "--seeds", "0")
    assert done.returncode == 1
    assert done.stderr.startswith("l1-900-0 failed: pocketkube: ")
