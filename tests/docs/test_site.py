"""The site builds, and nothing that it would warn of is left."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.written import PAGES, ROOT


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    caches = ["--doctree-dir", str(tmp_path / "doctrees")]
    done = subprocess.run(
        [*build, *caches, "docs", str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for page in PAGES:
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        built = (tmp_path / "site" / name).read_text("utf-8")
        assert "PocketKube" in built
    reference = (tmp_path / "site" / "reference" / "python.html").read_text("utf-8")
    assert 'id="pocketkube.prune"' in reference
