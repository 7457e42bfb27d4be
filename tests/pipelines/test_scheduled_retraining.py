"""The pipeline scheduled-retraining: its shape, and a run of it on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.training.scheduled_retraining import scheduled_retraining
from tests.pipelines.packages import Package, package
from tests.retraining.data import SPEC, add_partition

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return package(scheduled_retraining(), tmp_path_factory.mktemp("ir"))


def test_one_task_decides_and_three_follow_where_it_has_to_be(compiled: Package) -> None:
    """Each task costs some 20 s on a back end, and a condition 10 s more."""
    tasks = dict(compiled.all_tasks)
    assert set(compiled.tasks) == {"decide-retraining", "condition-1"}
    assert set(tasks) - set(compiled.tasks) == {"retrain-model", "benchmark-litert", "register-version"}
    trigger = compiled.tasks["condition-1"]["triggerPolicy"]["condition"]
    assert "decide-retraining-retrain" in trigger


def test_only_the_training_is_taken_from_a_cache(compiled: Package) -> None:
    kept = {
        name for name, task in compiled.all_tasks if task.get("cachingOptions") == {"enableCache": True}
    }
    assert kept == {"retrain-model"}


def test_pods_ask_for_what_the_first_task_says(compiled: Package) -> None:
    for name in ("retrain-model", "benchmark-litert"):
        resources = compiled.containers[name]["resources"]
        said = f"decide-retraining-{name.replace('-', '_')}_cpu"
        assert said in resources["resourceCpuLimit"]
        selector = compiled.pods[name]["nodeSelector"]["nodeSelectorJson"]
        # Within a condition what the first task says arrives as the condition's input.
        assert selector["componentInputParameter"].startswith("pipelinechannel--decide-retraining")


LOCAL = """
import sys, json
from kfp import local
from pipelines.local_conditions import conditions
from pipelines.local_inputs import optional_inputs
from pipelines.training.scheduled_retraining import scheduled_retraining
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1])
with optional_inputs(), conditions():
    scheduled_retraining()(**json.loads(sys.argv[2]))
"""


def run_locally(folder: Path) -> str:
    given = {
        "name": "digits",
        "model": "lenet",
        "partitions": str(folder / "data"),
        "registry": str(folder / "registry"),
        "epochs": 6,
        "batch_size": 32,
        "gate_score_drop": 0.1,
        "gate_size_growth": 1.0,
        "gate_latency_growth": 20.0,
        "settings": {
            "benchmark": SPEC["benchmark"],
            "stages": [{"prune_channels": {"criterion": "l2"}}],
        },
    }
    done = subprocess.run(
        [sys.executable, "-c", LOCAL, str(folder / "kfp"), json.dumps(given)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"POCKETKUBE_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def deployed(folder: Path) -> str:
    return str(json.loads((folder / "registry" / "deployed.json").read_text())["version"])


@pytest.mark.slow
def test_it_runs_on_this_machine(tmp_path: Path) -> None:
    add_partition(tmp_path / "data", "2026-11-01", 0)
    run_locally(tmp_path)
    first = deployed(tmp_path)
    assert first.startswith("2026-11-01-")
    pages = [page.read_text() for page in (tmp_path / "kfp").rglob("report")]
    assert any("a new version is deployed" in page for page in pages)

    # Nothing new: one task, which says so.
    before = {path.name for path in (tmp_path / "cache").iterdir()}
    said = run_locally(tmp_path)
    assert "There is no newer partition" in said
    assert "retrain-model" not in said

    add_partition(tmp_path / "data", "2026-11-02", 1, inverted=True)
    run_locally(tmp_path)
    assert deployed(tmp_path).startswith("2026-11-02-")
    assert {path.name for path in (tmp_path / "registry" / "versions").iterdir()} == {
        first,
        deployed(tmp_path),
    }
    assert before < {path.name for path in (tmp_path / "cache").iterdir()}
