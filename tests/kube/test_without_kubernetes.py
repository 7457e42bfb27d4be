"""Everything but pocketkube.kube can be used where the extra `cluster` is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFUSER = """
import sys

class Refuser:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "kubernetes":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuser())
"""
IMPORTS = """
import importlib, pkgutil
import pocketkube

for module in pkgutil.walk_packages(pocketkube.__path__, "pocketkube."):
    if not module.name.startswith("pocketkube.kube") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert "kubernetes" not in sys.modules
"""
CONNECTS = """
from pocketkube.errors import UserError
from pocketkube.kube import connect

try:
    connect()
except UserError as error:
    print(error)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REFUSER + program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.mark.slow
def test_no_other_module_needs_it() -> None:
    done = run(IMPORTS)
    assert done.returncode == 0, done.stderr


def test_a_cluster_without_it_is_refused_in_one_line() -> None:
    done = run(CONNECTS)
    assert done.stdout == (
        "a cluster is reached with the package kubernetes, which is missing: pip install "
        "'.[cluster]' in PocketKube's checkout.\n"
    )
