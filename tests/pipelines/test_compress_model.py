"""The pipeline compiles to what a back end takes, and its components run on this machine."""

import html
import io
import json
import os
import re
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import psutil
import pytest
import yaml
from kfp.local import logging_utils
from kfp.local.status import Status

from pipelines.compiling import compile_spec
from pipelines.compression.compress_model import compress_model
from pipelines.compression.compress_model.pipeline import COMPONENTS
from pipelines.local_log import ShortLog
from pocketkube.errors import UserError
from pocketkube.kube.kfp.package import read_package
from pocketkube.spec import document_of, load_spec, parse_spec
from tests.pipelines.packages import Package, package

ROOT = Path(__file__).parents[2]


SHORT = {"model": "lenet", "dataset": "digits", "stages": []}
CLUSTER = {
    "launcher": "mpijob",
    "object_store": {"endpoint": "http://store:9000", "secret": "keys"},
    "task": {"cpu": "1500m", "memory": "4Gi", "retries": 1},
    "tasks": {
        "train_model": {"cpu": "4", "memory": "16Gi", "gpus": 1, "timeout_minutes": 30},
        "3_fine_tune": {
            "node_selector": {"pool": "big"},
            "tolerations": [{"key": "big", "operator": "Exists", "effect": "NoSchedule"}],
        },
    },
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Package:
    stages = [
        {"distill_model": {"student": "lenet"}},
        *("prune_channels", "fine_tune", "sparsify_weights", "cluster_weights", "quantize_float16"),
    ]
    given = document_of(load_spec(ROOT / "examples" / "digits.yaml"))
    search = {"over": ["prune_channels"], "trials": 9}
    spec = parse_spec(given | {"stages": stages, "cluster": CLUSTER, "search": search})
    return package(compress_model(spec), tmp_path_factory.mktemp("ir"))


def test_every_component_is_in_a_pipeline(compiled: Package, tmp_path: Path) -> None:
    spec = parse_spec({"model": "lenet", "dataset": "digits", "stages": ["quantize_weights"]})
    tasks = compiled.tasks | package(compress_model(spec), tmp_path).tasks
    used = {task["componentRef"]["name"].removeprefix("comp-").rstrip("-2") for task in tasks.values()}
    assert used == {name.replace("_", "-") for name in COMPONENTS} | {"check-addresses"}


def test_containers_run_as_non_root(compiled: Package) -> None:
    assert set(compiled.pods) == set(compiled.containers)
    for pod in compiled.pods.values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert int(pod["securityContext"]["runAsUser"]) == 1000
        assert [mount["mountPath"] for mount in pod["emptyDirMounts"]] == ["/tmp"]


def test_pods_are_what_the_spec_asks_for(compiled: Package) -> None:
    training = compiled.containers["train-model"]["resources"]
    assert training["resourceCpuLimit"] == training["resourceCpuRequest"] == "4"
    assert training["resourceMemoryLimit"] == training["resourceMemoryRequest"] == "16Gi"
    assert training["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert training["accelerator"]["resourceCount"] == "1"
    assert compiled.pods["train-model"]["activeDeadlineSeconds"] == "1800"
    assert compiled.tasks["train-model"]["retryPolicy"]["maxRetryCount"] == 2
    pruning = compiled.containers["prune-channels"]["resources"]
    assert (pruning["resourceCpuLimit"], pruning["resourceMemoryLimit"]) == ("1500m", "4Gi")
    assert compiled.tasks["prune-channels"]["retryPolicy"]["maxRetryCount"] == 1
    tuning = compiled.pods["fine-tune-model"]
    assert tuning["nodeSelector"]["labels"] == {"kubernetes.io/arch": "amd64", "pool": "big"}
    assert tuning["tolerations"] == [{"key": "big", "operator": "Exists", "effect": "NoSchedule"}]
    assert "resources" not in compiled.containers["fine-tune-model"]


def test_the_store_is_what_the_spec_says(compiled: Package) -> None:
    for name, pod in compiled.pods.items():
        assert pod["secretAsEnv"][0]["secretName"] == "keys"
        assert {"name": "AWS_ENDPOINT_URL_S3", "value": "http://store:9000"} in (
            compiled.containers[name]["env"]
        )
        assert {"name": "POCKETKUBE_STORE_SECRET", "value": "keys"} in compiled.containers[name]["env"]
        # The spec names no place for checkpoints: a profile's keys open its own alone.
        (namespaces,) = pod["configMapAsEnv"]
        assert {each["configMapKey"]: each["envVar"] for each in namespaces["keyToEnv"]} == {
            "region": "AWS_REGION",
            "work": "POCKETKUBE_WORK",
        }


def test_tasks_that_train_are_told_where(compiled: Package) -> None:
    inputs = compiled.tasks["train-model"]["inputs"]["parameters"]
    cluster = inputs["cluster"]["runtimeValue"]["constant"]
    assert cluster == {key: CLUSTER[key] for key in ("launcher", "object_store")}
    assert "cluster" not in compiled.parameters


def test_what_a_search_finds_is_taken_by_the_stages_that_it_decides(compiled: Package) -> None:
    takers = {
        name
        for name, task in compiled.tasks.items()
        for artifact in task["inputs"].get("artifacts", {}).values()
        if artifact.get("taskOutputArtifact", {}).get("producerTask") == "search-ratios"
    }
    assert takers == {"prune-channels", "build-report"}
    assert compiled.parameters["search"]["defaultValue"] == {"over": ["prune_channels"], "trials": 9}
    told = compiled.tasks["search-ratios"]["inputs"]["parameters"]
    assert told["search"] == {"componentInputParameter": "search"}
    # Trials that cut channels are trained.
    assert {"seed", "target", "training"} <= set(told)


def test_the_measurement_is_never_taken_from_a_cache(compiled: Package) -> None:
    assert compiled.tasks["benchmark-litert"]["cachingOptions"] == {}
    assert compiled.tasks["train-model"]["cachingOptions"] == {"enableCache": True}


# Where the spec names none, a run's parameters may.
@pytest.mark.parametrize("dataset", [{"npz": "s3://data/a.npz"}, {"builtin": "digits"}])
def test_what_depends_on_addresses_is_repeated_where_they_hold_something_else(
    tmp_path: Path, dataset: dict[str, str]
) -> None:
    stages = {"stages": ["prune_channels", "quantize_int8"], "target": {"speedup": 2}}
    spec = parse_spec(SHORT | stages | {"dataset": dataset})
    found = package(compress_model(spec), tmp_path)
    assert found.tasks["check-addresses"]["cachingOptions"] == {}
    assert found.tasks["check-addresses"]["inputs"]["parameters"]["dataset"] == {
        "componentInputParameter": "dataset"
    }
    told = {
        name: task["inputs"]["parameters"]["held"]["taskOutputParameter"]["producerTask"]
        for name, task in found.tasks.items()
        if "held" in task["inputs"].get("parameters", {})
    }
    assert told == dict.fromkeys(
        ["check-export", "train-model", "prune-channels", "export-litert", "export-litert-2"],
        "check-addresses",
    )


def test_no_task_takes_one_artifact_twice(compiled: Package, tmp_path: Path) -> None:
    """A back end refuses that: ML Metadata holds (artifact, execution, type) unique."""
    assert not list(compiled.twice())
    assert not list(package(compress_model(parse_spec(SHORT)), tmp_path).twice())


def test_how_files_are_measured_is_told_to_none_that_trains(compiled: Package) -> None:
    told = {
        name
        for name, task in compiled.tasks.items()
        if "benchmark" in task["inputs"].get("parameters", {})
    }
    assert told == {"benchmark-litert", "build-report"}


def test_a_target_of_the_file_is_told_what_follows(tmp_path: Path) -> None:
    spec = parse_spec(SHORT | {"stages": ["prune_channels"], "target": {"max_size": 10000}})
    tasks = package(compress_model(spec), tmp_path).tasks
    assert tasks["prune-channels"]["inputs"]["parameters"]["stages"] == {
        "runtimeValue": {"constant": [{"name": "prune_channels"}]}
    }


def test_what_is_not_there_leaves_no_null(tmp_path: Path) -> None:
    """KFP's compiler takes no null in a mapping's default."""
    given = SHORT | {
        "dataset": {"npz": "s3://data/a.npz", "max_train": None, "image_size": None},
        "training": {"clip_norm": None, "ema": None},
        "target": None,
        "task": None,
    }
    parameters = package(compress_model(parse_spec(given)), tmp_path).parameters
    assert parameters["dataset"]["defaultValue"] == {"npz": "s3://data/a.npz"}
    assert "null" not in json.dumps(parameters)


def test_a_line_break_in_a_name_is_refused(tmp_path: Path) -> None:
    """It would compile to a file that cannot be read back."""
    with pytest.raises(UserError, match=r"^model: holds a line break"):
        compress_model(parse_spec(SHORT | {"model": "lenet\nlenet"}))
    spec = parse_spec(SHORT | {"dataset": {"npz": "/data/a\nb.npz"}})
    parameters = package(compress_model(spec), tmp_path).parameters
    assert parameters["dataset"]["defaultValue"] == {"npz": "/data/a\nb.npz"}


def test_a_step_that_is_not_there_is_refused() -> None:
    spec = parse_spec(SHORT | {"cluster": {"tasks": {"trian_model": {"cpu": "4"}}}})
    with pytest.raises(
        UserError, match=r"^cluster\.tasks\.trian_model: is no step of this job; use one"
    ):
        compress_model(spec)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("pipelines.__main__", [".", "--spec", "spec.yaml"]),
        ("pipelines.compression.compress_model.__main__", ["spec.yaml", "--compile", "spec.yaml"]),
    ],
)
def test_a_spec_is_not_written_over_by_its_package(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: str,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(SPEC)
    monkeypatch.setattr(sys, "argv", ["compile", *words])
    with pytest.raises(SystemExit):
        import_module(module).main()
    assert "pocketkube: the spec: spec.yaml is read, and would be" in capsys.readouterr().err
    assert Path("spec.yaml").read_text() == SPEC


@pytest.mark.parametrize("model", ["faces.keras", "~/faces.keras", "{here}"])
def test_paths_of_this_machine_are_not_compiled(tmp_path: Path, model: str) -> None:
    (tmp_path / "here.keras").write_bytes(b"")
    spec = parse_spec(SHORT | {"model": model.format(here=tmp_path / "here.keras")})
    with pytest.raises(UserError, match=r"^model: .* is a path of this machine, which no pod"):
        compile_spec(spec, tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()


def test_addresses_and_paths_of_the_image_are_compiled(tmp_path: Path) -> None:
    given = SHORT | {"model": "/models/faces.keras", "dataset": {"npz": "s3://data/faces.npz"}}
    assert compile_spec(parse_spec(given), tmp_path / "out.yaml").is_file()


@pytest.mark.parametrize(
    ("file", "name"),
    [("digits.yaml", "digits"), ("Our_faces.v2.yaml", "our-faces-v2"), ("顔.yaml", "spec")],
)
def test_a_specs_pipeline_is_called_after_its_file(tmp_path: Path, file: str, name: str) -> None:
    package = read_package(compile_spec(parse_spec(SHORT), tmp_path / file))
    # That of the form is called compress-model: no spec becomes a version of it.
    assert package.name == f"compress-model-{name}"


def test_files_are_measured_by_the_image_of_the_registry_or_the_specs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETKUBE_BENCHMARK_IMAGE", "registry/benchmark:1")
    for own, image in (({}, "registry/benchmark:1"), ({"benchmark_image": "own:2"}, "own:2")):
        spec = parse_spec(SHORT | {"cluster": {"benchmark": {"arch": "arm64"}} | own})
        given = package(compress_model(spec), tmp_path).tasks["benchmark-litert"]["inputs"]
        told = given["parameters"]["cluster"]["runtimeValue"]["constant"]
        assert told == {"benchmark": {"arch": "arm64"}, "benchmark_image": image}


def test_a_models_code_travels_with_the_spec(tmp_path: Path) -> None:
    source = "import keras\nA = '{{inputs.parameters.x}} $(HOME) {{$}}'\n"
    (tmp_path / "my_layers.py").write_text(source)
    job = {
        "model": "s3://bucket/net.keras",
        "imports": ["in_the_image", "my_layers"],
        "dataset": "digits",
        "stages": ["fine_tune", "quantize_weights"],
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(job))
    spec = load_spec(tmp_path / "spec.yaml")
    compile_spec(spec, tmp_path / "package.yaml")
    found = package(compress_model(spec), tmp_path)
    default = found.parameters["imports"]["defaultValue"]
    assert [each.source for each in parse_spec({**job, "imports": default}).imports] == ["", source]
    # Nothing that Argo or a shell would take for its own.
    assert not set("{$\n") & set(default[1]["packed"])
    opens = {name for name, task in found.tasks.items() if "imports" in task["inputs"]["parameters"]}
    assert opens == set(found.tasks) - {"benchmark-litert"}
    for name in opens:
        given = found.tasks[name]["inputs"]["parameters"]["imports"]
        assert given == {"componentInputParameter": "imports"}


SPEC = """\
model: lenet
dataset: digits
target: {speedup: 2}
stages: [{prune_channels: {criterion: l2}}, {fine_tune: {epochs: 1}}, quantize_int8]
training: {epochs: 2, batch_size: 32}
benchmark: {runs: 5, threads: [1]}
"""
SEARCH = "search: {over: [prune_channels], trials: 2, sampler: random}\n"


def run_pipeline(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipelines.compression.compress_model"]
    command += [str(folder / "spec.yaml"), "--output", str(folder / "out")]
    env = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """A folder in which a spec with a search has been run, and how that ended."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "spec.yaml").write_text(SPEC + SEARCH)
    return folder, run_pipeline(folder)


def test_lines_of_kfps_come_without_its_colours() -> None:
    shown = io.StringIO()
    task, status = logging_utils.format_task_name("train-model"), logging_utils.format_status
    ShortLog(shown).write(f"09:00 - INFO - Task {task} finished with status {status(Status.SUCCESS)}\n")
    assert shown.getvalue() == "09:00 - INFO - Task 'train-model' finished with status SUCCESS\n"


@pytest.mark.slow
def test_the_pipeline_runs_on_this_machine(job: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, done = job
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Multiply-adds" in done.stdout
    assert "stage=train step=80/80" in done.stdout
    assert "executor_input" not in done.stdout
    assert "parameterValues" not in done.stdout
    assert "x1b" not in done.stdout
    assert "oneDNN" not in done.stdout
    for name in ("result.json", "report.html", "model.tflite", "model.keras"):
        assert (folder / "out" / name).stat().st_size > 0
    # What the search found stands beside.
    assert set(yaml.safe_load((folder / "out" / "ratios.yaml").read_text())) == {"prune_channels"}
    assert len((folder / "out" / "trials.csv").read_text().splitlines()) == 1 + 2
    kept = {path: path.stat().st_mtime_ns for path in (folder / "out" / ".cache").iterdir()}
    assert run_pipeline(folder).returncode == 0
    again = {path: path.stat().st_mtime_ns for path in (folder / "out" / ".cache").iterdir()}
    assert again == kept
    check_how_to_do_it_again(folder)


def check_how_to_do_it_again(folder: Path) -> None:
    """A report names a command that a person can run, or else what to run it on."""
    by_pipeline = json.loads((folder / "out" / "result.json").read_text())
    assert by_pipeline["command"] is None
    page = html.unescape((folder / "out" / "report.html").read_text())
    (shown,) = re.findall(
        r"Save this as <code>spec.yaml</code>:</p><pre><code>(.*?)</code>", page, re.S
    )
    assert parse_spec(yaml.safe_load(shown)) == parse_spec(by_pipeline["spec"])
    assert parse_spec(by_pipeline["spec"]) == parse_spec(yaml.safe_load(SPEC + SEARCH))

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
    (tmp_path / "spec.yaml").write_text(SPEC.replace("epochs: 2", "epochs: 400"))
    command = [sys.executable, "-m", "pipelines.compression.compress_model"]
    command += [str(tmp_path / "spec.yaml"), "--output", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
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
    assert all(
        name.endswith((".partial", ".held")) or name.startswith("check_export-") for name in kept
    )


@pytest.mark.slow
def test_a_refusal_is_the_last_line_of_the_component(
    job: tuple[Path, subprocess.CompletedProcess], tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.replace("speedup: 2", "speedup: 5000"))
    # What was trained for the other job serves this one.
    done = run_pipeline(tmp_path, POCKETKUBE_CACHE=str(job[0] / "out" / ".cache"))
    assert done.returncode == 2
    assert "pocketkube: The target of 5000.00x cannot be reached" in done.stdout + done.stderr
    assert not (tmp_path / "out" / "result.json").exists()
