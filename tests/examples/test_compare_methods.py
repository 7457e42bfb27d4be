"""The comparison of methods measures latency when nothing trains, and names what there is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "compare_methods.py"
SPEC = """\
model: lenet
dataset: digits
stages: []
training: {epochs: 1, batch_size: 64}
benchmark: {runs: 5, threads: [1]}
"""
METHODS = """\
zeros: {stages: [{sparsify_weights: {epochs: 1}}]}
calibrated: {stages: [{quantize_weights: {epochs: 0}}]}
"""


def compare(folder: Path, *options: str) -> subprocess.CompletedProcess:
    (folder / "spec.yaml").write_text(SPEC)
    (folder / "methods.yaml").write_text(METHODS)
    files = [folder / "spec.yaml", folder / "methods.yaml", "--output", folder / "out"]
    command = [sys.executable, SCRIPT, *files, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_method_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = compare(tmp_path, "--only", "zeros", "typo")
    assert done.returncode == 2
    said = "pocketkube: --only: there is no method typo; there are: zeros, calibrated."
    assert done.stderr.strip() == said


@pytest.mark.slow
def test_latency_is_measured_once_all_have_trained(tmp_path: Path) -> None:
    done = compare(tmp_path, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    folders = [tmp_path / "out" / f"{name}-0" for name in ("zeros", "calibrated")]
    measured = [folder / "latency.json" for folder in folders]
    trained = max((folder / "result.json").stat().st_mtime_ns for folder in folders)
    assert all(file.stat().st_mtime_ns > trained for file in measured)
    ratios = [json.loads(file.read_text()) for file in measured]
    assert all(100 <= ratio["runs"] <= 1000 for ratio in ratios)
    rows = [line.split("|")[1:-1] for line in (tmp_path / "out" / "table.md").read_text().splitlines()]
    assert [row[0].strip() for row in rows[2:]] == ["(dense)", "zeros", "calibrated"]
    told = [f"{ratio['latency_ratio']:.1f}x" for ratio in ratios]
    assert [row[-1].strip() for row in rows[2:]] == ["1.0x", *told]

    before = [file.stat().st_mtime_ns for file in measured]
    assert compare(tmp_path, "--only", "zeros").returncode == 0
    assert [file.stat().st_mtime_ns for file in measured] == before
