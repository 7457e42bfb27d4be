"""The comparison of searches goes through fine-tuning, and what is finished stays."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "compare_searches.py"
SPEC = """\
model: lenet
dataset: digits
target: {speedup: 3}
search: {over: [prune_channels], trials: 3, evaluate: {examples: 200}}
stages: [{prune_channels: {round_to: 1}}, {fine_tune: {epochs: 1}}]
training: {epochs: 2, batch_size: 64}
benchmark: {runs: 5, threads: [1]}
"""


@pytest.mark.slow
def test_what_was_found_goes_through_the_stages(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    command = [sys.executable, SCRIPT, tmp_path / "spec.yaml", "--output", tmp_path / "out"]
    options = ["--samplers", "milp", "--best-of", "1", "3", "--seeds", "0", "--jobs", "1"]

    def rows() -> list[list[str]]:
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / "out" / "table.md").read_text().splitlines()
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]

    table = rows()
    assert table[0] == ["sampler", "best of 1", "best of 3"]
    assert [row[0] for row in table[2:]] == ["(dense)", "(no search)", "milp"]
    compared = json.loads((tmp_path / "out" / "search-0" / "comparison.json").read_text())
    (run,) = compared["runs"]
    for count, cell in zip((1, 3), table[4][1:], strict=True):
        before, after = cell.split(" → ")
        assert before == f"{100 * run['best_so_far'][count - 1]:.2f}"
        assert 0 < float(after) <= 100
    first = json.loads((tmp_path / "out" / "milp-1-0" / "result.json").read_text())
    assert first["speedup"] >= 3
    assert first["spec"]["stages"][0]["prune_channels"]["ratios"]
    assert table[4][1].endswith(f"{100 * first['after']['score']:.2f}")
    kept = (tmp_path / "out" / "milp-1-0" / "result.json").stat().st_mtime_ns
    assert rows() == table
    assert (tmp_path / "out" / "milp-1-0" / "result.json").stat().st_mtime_ns == kept
