"""The pipeline compiles to what a back end takes, and its components run on this machine."""

import html
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from pipelines.compression.compress_model import compress_model
from pipelines.compression.compress_model.pipeline import COMPONENTS
from pocketkube.spec import document_of, load_spec, parse_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    from kfp import compiler

    path = tmp_path_factory.mktemp("ir") / "pipeline.yaml"
    stages = [
        {"distill_model": {"student": "lenet"}},
        *("prune_channels", "sparsify_weights", "fine_tune", "cluster_weights", "quantize_float16"),
    ]
    spec = parse_spec(document_of(load_spec(ROOT / "examples" / "digits.yaml")) | {"stages": stages})
    compiler.Compiler().compile(compress_model(spec), str(path))
    return list(yaml.safe_load_all(path.read_text()))


def test_every_component_is_in_a_pipeline(compiled: list[dict], tmp_path: Path) -> None:
    from kfp import compiler

    tasks = compiled[0]["root"]["dag"]["tasks"]
    spec = parse_spec({"model": "lenet", "dataset": "digits", "stages": ["quantize_weights"]})
    compiler.Compiler().compile(compress_model(spec), str(tmp_path / "other.yaml"))
    other = next(yaml.safe_load_all((tmp_path / "other.yaml").read_text()))
    tasks |= other["root"]["dag"]["tasks"]
    used = {task["componentRef"]["name"].removeprefix("comp-").rstrip("-2") for task in tasks.values()}
    assert used == {name.replace("_", "-") for name in COMPONENTS}


def test_containers_run_as_non_root(compiled: list[dict]) -> None:
    executors = compiled[0]["deploymentSpec"]["executors"]
    configs = compiled[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(configs) == set(executors)
    for config in configs.values():
        context = config["securityContext"]
        assert context["runAsNonRoot"] is True
        assert int(context["runAsUser"]) == 1000


def test_the_measurement_is_never_taken_from_a_cache(compiled: list[dict]) -> None:
    tasks = compiled[0]["root"]["dag"]["tasks"]
    assert tasks["benchmark-litert"]["cachingOptions"] == {}
    assert tasks["train-model"]["cachingOptions"] == {"enableCache": True}


def test_no_task_takes_one_artifact_twice(compiled: list[dict], tmp_path: Path) -> None:
    """A back end refuses that: ML Metadata holds (artifact, execution, type) unique."""
    from kfp import compiler

    compiler.Compiler().compile(compress_model(parse_spec(SHORT)), str(tmp_path / "short.yaml"))
    short = next(yaml.safe_load_all((tmp_path / "short.yaml").read_text()))
    for pipeline in (compiled[0], short):
        for name, task in pipeline["root"]["dag"]["tasks"].items():
            producers = [
                (
                    source["taskOutputArtifact"]["producerTask"],
                    source["taskOutputArtifact"]["outputArtifactKey"],
                )
                for source in task.get("inputs", {}).get("artifacts", {}).values()
            ]
            assert len(set(producers)) == len(producers), name


def test_how_files_are_measured_is_told_to_none_that_trains(compiled: list[dict]) -> None:
    tasks = compiled[0]["root"]["dag"]["tasks"]
    told = {name for name, task in tasks.items() if "benchmark" in task["inputs"].get("parameters", {})}
    assert told == {"benchmark-litert", "build-report"}


def test_a_target_of_the_file_is_told_what_follows(tmp_path: Path) -> None:
    from kfp import compiler

    spec = parse_spec(SHORT | {"stages": ["prune_channels"], "target": {"max_size": 10000}})
    compiler.Compiler().compile(compress_model(spec), str(tmp_path / "pipeline.yaml"))
    tasks = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))["root"]["dag"]["tasks"]
    assert tasks["prune-channels"]["inputs"]["parameters"]["stages"] == {
        "runtimeValue": {"constant": [{"name": "prune_channels"}]}
    }


SHORT = {"model": "lenet", "dataset": "digits", "stages": []}
SPEC = """\
model: lenet
dataset: digits
target: {speedup: 2}
stages: [{prune_channels: {criterion: l2}}, {fine_tune: {epochs: 1}}, quantize_int8]
training: {epochs: 4, batch_size: 32}
benchmark: {runs: 5, threads: [1]}
"""


def run_pipeline(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipelines.compression.compress_model"]
    command += [str(folder / "spec.yaml"), "--output", str(folder / "out")]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_the_pipeline_runs_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    done = run_pipeline(tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Multiply-adds" in done.stdout
    assert "stage=train step=160/160" in done.stdout
    assert "executor_input" not in done.stdout
    assert "parameterValues" not in done.stdout
    for name in ("result.json", "report.html", "model.tflite", "model.keras"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / ".cache").iterdir()}
    assert run_pipeline(tmp_path).returncode == 0
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / ".cache").iterdir()}
    assert again == kept
    check_how_to_do_it_again(tmp_path)


def check_how_to_do_it_again(folder: Path) -> None:
    """A report names a command that a person can run, or else what to run it on."""
    by_pipeline = json.loads((folder / "out" / "result.json").read_text())
    assert by_pipeline["command"] is None
    page = html.unescape((folder / "out" / "report.html").read_text())
    (shown,) = re.findall(
        r"Save this as <code>spec.yaml</code>:</p><pre><code>(.*?)</code>", page, re.S
    )
    assert parse_spec(yaml.safe_load(shown)) == parse_spec(by_pipeline["spec"])
    assert parse_spec(by_pipeline["spec"]) == parse_spec(yaml.safe_load(SPEC))

    words = ["run", "spec.yaml", "--output", "by hand"]
    subprocess.run(
        [sys.executable, "-m", "pocketkube", *words],
        cwd=folder,
        env=os.environ | {"POCKETKUBE_CACHE": str(folder / "out" / ".cache")},
        check=True,
        capture_output=True,
    )
    by_hand = json.loads((folder / "by hand" / "result.json").read_text())
    assert by_hand["command"] == "python -m pocketkube run spec.yaml --output 'by hand'"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_running_or_half_written(
    tmp_path: Path, how: signal.Signals
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.replace("epochs: 4", "epochs: 400"))
    command = [sys.executable, "-m", "pipelines.compression.compress_model"]
    command += [str(tmp_path / "spec.yaml"), "--output", str(tmp_path / "out")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A gate that is started in the background hands down that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if "stage=train" in line:
                break
        children = psutil.Process(run.pid).children(recursive=True)
        assert children
        run.send_signal(how)
        rest = run.stdout.read()
    assert run.returncode == 130
    assert "interrupted; the same command goes on from here" in rest
    assert not [child for child in children if child.is_running()]
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {".cache", "kfp"}
    # What was tried before the training stays tried.
    kept = [path.name for path in (tmp_path / "out" / ".cache").iterdir()]
    assert all(name.endswith(".partial") or name.startswith("check_export-") for name in kept)


@pytest.mark.slow
def test_a_refusal_is_the_last_line_of_the_component(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.replace("speedup: 2", "speedup: 5000"))
    done = run_pipeline(tmp_path)
    assert done.returncode == 2
    assert "pocketkube: The target of 5000.00x cannot be reached" in done.stdout + done.stderr
    assert not (tmp_path / "out" / "result.json").exists()
