"""What a person sees and starts: the ready pipelines, their forms, their tasks' pods."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.compression.check_spec import check_spec
from pipelines.compression.compress_model import ready_pipeline
from pipelines.ready import READY
from pocketkube.spec.form import CompressForm
from tests.pipelines.packages import Package, package

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    return {name: package(make(), tmp_path_factory.mktemp(name)) for name, make in READY.items()}


@pytest.fixture(scope="module")
def compress(packages: dict[str, Package]) -> Package:
    return packages["compress_model"]


@pytest.mark.parametrize("name", READY)
def test_no_task_takes_one_artifact_twice(packages: dict[str, Package], name: str) -> None:
    assert not list(packages[name].twice())


@pytest.mark.parametrize("name", READY)
def test_a_form_explains_all_it_asks_for_and_runs_as_it_is(
    packages: dict[str, Package], name: str
) -> None:
    assert packages[name].parameters
    for parameter in packages[name].parameters.values():
        assert parameter["description"].endswith(".")
        assert "\n" not in parameter["description"]


@pytest.mark.parametrize("name", READY)
def test_every_pod_is_restricted_and_has_a_tmp_and_the_keys_of_the_store(
    packages: dict[str, Package], name: str
) -> None:
    ready = packages[name]
    assert set(ready.pods) == set(ready.containers)
    for pod in ready.pods.values():
        context = pod["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"]) == (True, "1000")
        assert [mount["mountPath"] for mount in pod["emptyDirMounts"]] == ["/tmp"]
        (keys,) = pod["secretAsEnv"]
        assert keys["optional"] is True
        assert {each["secretKey"]: each["envVar"] for each in keys["keyToEnv"]} == {
            "accesskey": "AWS_ACCESS_KEY_ID",
            "secretkey": "AWS_SECRET_ACCESS_KEY",
        }
        (server,) = pod["configMapAsEnv"]
        assert (server["configMapName"], server["optional"]) == ("pocketkube-object-store", True)
        assert {each["configMapKey"]: each["envVar"] for each in server["keyToEnv"]} == {
            "endpoint": "AWS_ENDPOINT_URL_S3",
            "region": "AWS_REGION",
            "work": "POCKETKUBE_WORK",
        }


def test_the_form_of_compress_model_is_typed(compress: Package) -> None:
    kinds = {str: "STRING", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE", dict: "STRUCT"}
    assert set(compress.parameters) == set(CompressForm.model_fields)
    for name, field in CompressForm.model_fields.items():
        parameter = compress.parameters[name]
        assert parameter["parameterType"] == kinds[type(field.default)]
        assert parameter["defaultValue"] == field.default
        assert parameter["description"] == field.description


def test_the_form_of_a_search_adds_to_it(packages: dict[str, Package], compress: Package) -> None:
    search = packages["search_and_compress"]
    assert set(search.parameters) - set(compress.parameters) == {"trials", "sampler", "parallel", "tie"}
    assert "ddpg" in search.parameters["sampler"]["literals"]
    assert set(search.tasks) - set(compress.tasks) == {"check-search-spec", "search-ratios"}
    taken = search.tasks["prune-channels"]["inputs"]["artifacts"]["ratios"]["taskOutputArtifact"]
    assert taken == {"producerTask": "search-ratios", "outputArtifactKey": "ratios"}
    assert "searched" in search.tasks["build-report"]["inputs"]["artifacts"]


def test_what_can_be_chosen_is_offered(compress: Package) -> None:
    offered = {
        name: parameter["literals"]
        for name, parameter in compress.parameters.items()
        if "literals" in parameter
    }
    assert offered["number_format"] == ["int8", "float16", "dynamic", "float32"]
    assert set(offered) == {"dataset_kind", "number_format", "launcher", "benchmark_arch"}
    assert all(compress.parameters[name]["defaultValue"] in values for name, values in offered.items())


@pytest.mark.parametrize("name", READY)
def test_pods_that_no_settings_reach_ask_for_little_and_for_nodes_of_our_image(
    packages: dict[str, Package], name: str
) -> None:
    ready, first = packages[name], []
    for task, pod in ready.pods.items():
        if "labels" in pod.get("nodeSelector", {}):
            assert pod["nodeSelector"]["labels"] == {"kubernetes.io/arch": "amd64"}
            # A quota takes no pod without.
            resources = ready.containers[task]["resources"]
            assert resources["resourceCpuRequest"] == "250m"
            assert resources["resourceMemoryRequest"] == "1Gi"
            assert {"resourceCpuLimit", "resourceMemoryLimit"} <= set(resources)
            first.append(task)
        else:
            assert "nodeSelectorJson" in pod["nodeSelector"]
    assert first


@pytest.mark.parametrize("name", READY)
def test_tasks_are_told_which_secret_they_need(packages: dict[str, Package], name: str) -> None:
    for container in packages[name].containers.values():
        told = {each["name"]: each["value"] for each in container["env"]}
        assert told["POCKETKUBE_STORE_SECRET"] == "that object_store_secret names"


def test_each_tasks_pod_is_what_the_checked_spec_says(compress: Package) -> None:
    for name, container in compress.containers.items():
        if name == "check-spec":
            continue
        resources = container["resources"]
        for key in ("resourceCpuLimit", "resourceMemoryLimit"):
            assert resources[key].startswith("{{$.inputs.parameters['pipelinechannel--check-spec-")
        assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
        pod = compress.pods[name]
        selector = pod["nodeSelector"]["nodeSelectorJson"]["taskOutputParameter"]
        (toleration,) = pod["tolerations"]
        assert selector["producerTask"] == "check-spec"
        assert toleration["tolerationJson"]["taskOutputParameter"]["producerTask"] == "check-spec"
        task = compress.tasks[name]
        assert task["retryPolicy"]["maxRetryCount"] == 2
        assert task["cachingOptions"] == ({} if name == "benchmark-litert" else {"enableCache": True})


def test_the_secret_is_a_parameter(compress: Package) -> None:
    for pod in compress.pods.values():
        named = pod["secretAsEnv"][0]["secretNameParameter"]
        assert named == {"componentInputParameter": "object_store_secret"}


def test_images_are_those_of_the_registry_that_was_compiled_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETKUBE_BENCHMARK_IMAGE", "registry/benchmark:1")
    containers = package(ready_pipeline(), tmp_path).containers
    told = {"name": "POCKETKUBE_BENCHMARK_IMAGE", "value": "registry/benchmark:1"}
    assert told in containers["check-spec"]["env"]


def test_tasks_have_names_that_tell_them_apart(compress: Package) -> None:
    names = [task["taskInfo"]["name"] for task in compress.tasks.values()]
    assert len(set(names)) == len(names)
    assert {"export_litert (baseline)", "export_litert (result)"} <= set(names)


def test_a_summary_and_a_report_are_there_to_be_seen(compress: Package) -> None:
    made = compress.pipeline["components"]["comp-build-report"]["outputDefinitions"]["artifacts"]
    kinds = {name: each["artifactType"]["schemaTitle"] for name, each in made.items()}
    assert kinds["report"] == "system.HTML"
    assert kinds["summary"] == "system.Markdown"


def told(compress: Package, **form: Any) -> dict[str, dict[str, Any]]:
    """What each task is told: Kubeflow keeps its output by that."""
    names = check_spec.component_spec.outputs
    checked = dict(zip(names, check_spec.python_func(**form), strict=True))
    found = {}
    for name, task in compress.tasks.items():
        found[name] = {
            key: checked[source["taskOutputParameter"]["outputParameterKey"]]
            for key, source in task["inputs"]["parameters"].items()
            if "taskOutputParameter" in source
        }
    return found


def changed(compress: Package, **form: Any) -> set[str]:
    """Tasks that are told something else than by the form as it is."""
    before, after = told(compress), told(compress, **form)
    return {name for name in before if before[name] != after[name]}


def test_a_change_repeats_what_it_touches(compress: Package) -> None:
    def settings(**given: Any) -> set[str]:
        return changed(compress, settings=given)

    shown = {"build-report"}
    assert settings(benchmark={"runs": 7}) == {"benchmark-litert"} | shown
    assert settings(distillation={"weight": 0.1}) == {"prune-channels", "fine-tune-model"} | shown
    assert settings(stages=[{"fine_tune": {"epochs": 3}}]) == {
        *("check-export", "fine-tune-model", "build-report")
    }
    pool = {"benchmark": {"arch": "arm64", "node_selector": {"pool": "phones"}}}
    assert settings(cluster=pool) == {"benchmark-litert"} | shown
    assert settings(cluster={"tasks": {"train_model": {"memory": "9Gi"}}}) == {"train-model"} | shown
    assert settings(cluster={"workers": {"slots": 2}}) == {"train-model", "fine-tune-model"} | shown
    assert changed(compress, number_format="dynamic") == {
        *("check-export", "export-litert-2", "build-report")
    }
    assert changed(compress, max_size=90_000) == {"check-export", "prune-channels"} | shown


def test_what_addresses_hold_counts_for_all_that_read_them(compress: Package, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"1")
    form = {"dataset_kind": "npz", "dataset": str(tmp_path / "x.npz")}
    before = told(compress, **form)
    (tmp_path / "x.npz").write_bytes(b"12")
    after = told(compress, **form)
    assert {name for name in before if before[name] != after[name]} == {
        *("check-export", "train-model", "prune-channels", "fine-tune-model"),
        *("export-litert", "export-litert-2"),
    }


def test_how_files_are_measured_counts_where_the_file_is_judged(compress: Package) -> None:
    before = told(compress, max_latency_ms=1.0)
    after = told(compress, max_latency_ms=1.0, settings={"benchmark": {"runs": 7}})
    repeated = {name for name in before if before[name] != after[name]}
    assert repeated == {"prune-channels", "benchmark-litert", "build-report"}


def test_make_pipelines_writes_them_all(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {path.stem for path in tmp_path.iterdir()} == set(READY)
    assert "POCKETKUBE_IMAGE" in done.stdout
    for path in tmp_path.iterdir():
        pipeline, _ = yaml.safe_load_all(path.read_text())
        assert pipeline["pipelineInfo"]["name"] == path.stem.replace("_", "-")


RUN = """\
import sys
from kfp import local
from pipelines.compression.compress_model import ready_pipeline
from pipelines.local_inputs import optional_inputs
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1])
with optional_inputs():
    print("LITERT", ready_pipeline()(**eval(sys.argv[2])).outputs["litert"].path)
"""


def run_ready(folder: Path, **form: Any) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", RUN, str(folder / "kfp"), repr(form)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_a_wrong_form_is_refused_before_anything_costly(tmp_path: Path) -> None:
    done = run_ready(tmp_path, settings={"trainning": {}})
    assert done.returncode != 0
    assert "pocketkube: settings.trainning: is not a known key; did you mean training?" in done.stdout
    assert not list((tmp_path / "kfp").rglob("*"))


@pytest.mark.slow
def test_the_ready_pipelines_file_is_that_of_the_same_spec(tmp_path: Path) -> None:
    settings = {"benchmark": {"runs": 5, "threads": [1], "warmup_runs": 0}}
    done = run_ready(tmp_path, epochs=1, fine_tune_epochs=1, settings=settings)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    litert = Path(done.stdout.split("LITERT ")[1].strip())
    spec = {
        "model": "lenet",
        "dataset": "digits",
        "target": {"speedup": 2},
        "stages": ["prune_channels", {"fine_tune": {"epochs": 1}}, "quantize_int8"],
        "training": {"epochs": 1},
        **settings,
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    command = [sys.executable, "-m", "pocketkube", "run", "spec.yaml", "--output", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (litert / "model.tflite").read_bytes() == (tmp_path / "out" / "model.tflite").read_bytes()
    (run,) = (tmp_path / "kfp").iterdir()
    summary = (run / "build-report" / "summary").read_text()
    assert "| File size |" in summary
