"""What is said where KUBECONFIG names a cluster on which the tests cannot run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNREACHABLE = {
    "current-context": "there",
    "clusters": [{"name": "there", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "me", "user": {}}],
    "contexts": [{"name": "there", "context": {"cluster": "there", "user": "me"}}],
}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be used: "),
        ("clusters: [", "cannot be used: "),
        (json.dumps(UNREACHABLE), "does not answer: "),
    ],
)
def test_one_line_ends_the_run(content: str | None, complaint: str, tmp_path: Path) -> None:
    named = tmp_path / "kubeconfig"
    if content is not None:
        named.write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", "tests/cluster/test_arm64.py"],
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": str(named)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"KUBECONFIG={named} {complaint}" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
