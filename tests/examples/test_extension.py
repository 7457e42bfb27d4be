"""The example package, installed as pip would, in processes that find it by its entry points alone."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/extension"

# What a change of a package's file does to the names under which stages are kept.
KEPT = """
from pathlib import Path
from pocketkube.spec import load_spec
from pocketkube.stages.cache import kept_place
from pocketkube.stages.plan import plan
Path("empty").mkdir(exist_ok=True)
outputs = {}
for step in plan(load_spec(Path("job.yaml"))):
    outputs[step.key] = "empty"
    print(step.key, kept_place(Path(), step.call(outputs, "out")))
"""
COMPILE = """
from pathlib import Path
from pipelines.compression.compress_model.pipeline import compress_model
from pocketkube.errors import UserError
from pocketkube.spec import load_spec
try:
    compress_model(load_spec(Path("job.yaml")))
except UserError as error:
    print(error)
"""
READ = """
import sys
from pathlib import Path
from pocketkube.errors import UserError
from pocketkube.spec import document_of, load_spec, parse_spec, settings_document
from pocketkube.spec import Spec, parse_settings
spec = load_spec(Path("job.yaml"))
assert parse_spec(document_of(spec)) == spec == parse_settings(Spec, settings_document(spec), "spec")
print(document_of(spec)["dataset"], document_of(spec)["task"])
print({"tensorflow", "keras"} & {*sys.modules})
wrong = {
    "model": "lenet",
    "dataset": {"bars": {"size": 2.5, "count": 3}},
    "task": {"direction": {"x": 1}},
    "target": {"speedup": 2},
    "stages": [
        {"prune_channels": {"criterion": "largest_weigth"}},
        "clip_weight",
        {"clip_weights": {"deviations": -3}},
    ],
}
try:
    parse_spec(wrong)
except UserError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example's wheel is installed in."""
    folder = tmp_path_factory.mktemp("extension")
    source = shutil.copytree(EXAMPLE, folder / "source")
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    shutil.copy(EXAMPLE / "job.yaml", folder)
    return folder


def python(installed: Path, *arguments: str) -> str:
    paths = os.pathsep.join([str(installed / "site"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-4000:]
    return done.stdout


@pytest.mark.slow
def test_a_job_uses_one_of_each_kind(installed: Path) -> None:
    python(installed, "-m", "pocketkube", "run", "job.yaml", "--output", "out")
    result = json.loads((installed / "out/result.json").read_text())
    assert result["task"]["score_name"] == "negative_angle"
    assert [each["name"] for each in result["stages"]][:4] == [
        "train_model",
        "prune_channels",
        "clip_weights",
        "fine_tune",
    ]
    kinds = [row["kind"] for row in result["layers"]]
    assert kinds.count("ChannelScale") == 3
    # By hand: of random directions the mean angle is pi / 2.
    assert result["stages"][3]["score"] > -0.8
    with zipfile.ZipFile(installed / "out/model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    sizes = {
        each["config"]["name"]: each["build_config"]["input_shape"][-1]
        for each in config["config"]["layers"]
        if each["class_name"] == "ChannelScale"
    }
    filters = {
        each["config"]["name"]: each["config"]["filters"]
        for each in config["config"]["layers"]
        if each["class_name"] == "Conv2D"
    }
    assert sum(filters.values()) < 16 + 16 + 32
    assert list(sizes.values()) == list(filters.values())


@pytest.mark.slow
def test_its_own_tests_pass(installed: Path) -> None:
    options = ("-q", "-n0", "--import-mode=importlib", "-p", "no:cacheprovider")
    told = python(installed, "-m", "pytest", *options, str(EXAMPLE / "tests"))
    assert " passed" in told


def test_a_spec_that_names_them_is_read_without_tensorflow(installed: Path) -> None:
    written, modules, wrong = python(installed, "-c", READ).splitlines()
    assert written == "{'bars': {'examples': 240}} direction"
    assert modules == "set()"
    for sentence in (
        "dataset.bars.size: must be a whole number; received 2.5",
        "dataset.bars.count: is not a known key; use one of examples, size",
        "task.direction.x: is not a known key",
        "stages.prune_channels.criterion: 'largest_weigth' is not known; did you mean largest_weight?",
        "stages[1]: 'clip_weight' is not a stage; did you mean clip_weights?",
        "stages.clip_weights.deviations: must be above 0; received -3",
    ):
        assert sentence in wrong


def test_stages_run_again_where_the_code_that_they_use_changed(installed: Path) -> None:
    def kept() -> dict[str, str]:
        return dict(line.split() for line in python(installed, "-c", KEPT).splitlines())

    before = kept()

    def changed(file: str) -> set[str]:
        place = installed / "site/pocketkube_bars" / file
        text = place.read_text()
        place.write_text(text + "\n# Changed.\n")
        after = kept()
        place.write_text(text)
        return {key for key, name in after.items() if name != before[key]}

    # Two stages look at the settings of all others.
    assert changed("criterion.py") == {"check_export", "1_prune_channels", "report"}
    assert changed("stage.py") == {"check_export", "2_clip_weights", "report"}
    # A bundle may hold any layer.
    assert changed("layer.py") >= {"train_model", "1_prune_channels", "2_clip_weights", "3_fine_tune"}


def test_a_stage_without_a_component_is_refused_by_the_pipeline(installed: Path) -> None:
    told = python(installed, "-c", COMPILE).strip()
    assert told == (
        "The stage clip_weights of the package pocketkube-bars 1.0 has no component: run the job on "
        "one machine, or give its StageDefinition one."
    )


def test_without_the_package_the_spec_says_what_is_not_known() -> None:
    from pocketkube.errors import UserError
    from pocketkube.spec import load_spec

    with pytest.raises(UserError, match=r"dataset\.bars: is not a known key"):
        load_spec(EXAMPLE / "job.yaml")
