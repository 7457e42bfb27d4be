"""What can be said of the images without building them; a cluster's tests run the images themselves."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from pocketkube.deploy import convert_litert

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "images").rglob("*.sh"))

# Imports what the benchmark image's lock file names, the standard library and PocketKube; nothing else.
ONLY_THE_LOCK = """
import re, runpy, sys
from importlib.metadata import packages_distributions
from pathlib import Path

def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()

locked = set(re.findall(r"^([a-z0-9-]+)==", Path(sys.argv[1]).read_text(), re.M)) | {"pocketkube"}
owners = packages_distributions()

class Refuser:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in owners and not locked & {plain(owner) for owner in owners[top]}:
            raise ModuleNotFoundError(f"No module named {top!r} in the benchmark image", name=top)

sys.meta_path.insert(0, Refuser())
sys.argv[:2] = ["pocketkube"]
runpy.run_module("pocketkube", run_name="__main__", alter_sys=False)
"""


def locked_versions(name: str) -> dict[str, set[str]]:
    """Each package's versions in a lock file; there may be one for each Python."""
    found: dict[str, set[str]] = {}
    lines = (ROOT / "requirements" / f"{name}.lock").read_text("utf-8")
    for package, version in re.findall(r"^([a-z0-9-]+)==([^ ]+)", lines, re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def pocketkube_of_the_benchmark_image(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        ONLY_THE_LOCK,
        ROOT / "requirements" / "benchmark.lock",
        *arguments,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


def build(*targets: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "images" / "build.sh", *targets]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | settings)


@pytest.fixture(scope="module")
def litert(tmp_path_factory):
    """A folder as export_litert leaves it."""
    folder = tmp_path_factory.mktemp("litert")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    (folder / "model.tflite").write_bytes(convert_litert(model, "float32"))
    np.savez(folder / "samples.npz", x0=x, y=np.argmax(model(x).numpy(), axis=-1).astype("int32"))
    return folder


def test_the_benchmark_image_has_neither_tensorflow_nor_keras():
    locked = locked_versions("benchmark")
    assert "ai-edge-litert" in locked
    assert not {"tensorflow", "tensorflow-cpu", "keras", "kfp", "scikit-learn"} & set(locked)


def test_the_benchmark_image_measures_with_the_versions_that_exported():
    runtime, benchmark = locked_versions("runtime"), locked_versions("benchmark")
    shared = set(runtime) & set(benchmark)
    assert {"ai-edge-litert", "numpy"} <= shared
    assert {name: benchmark[name] for name in shared} == {name: runtime[name] for name in shared}


def test_the_command_runs_on_the_benchmark_images_packages(litert):
    done = pocketkube_of_the_benchmark_image("benchmark", litert / "model.tflite", "--runs", "5")
    assert done.returncode == 0, done.stderr
    assert "latency p50" in done.stdout


def test_the_stage_runs_on_the_benchmark_images_packages(litert, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("model: resnet20\ndataset: digits\nstages: [quantize_int8]\nbenchmark: {runs: 5}\n")
    inputs = [word for role in ("baseline", "result") for word in ("--input", f"{role}={litert}")]
    done = pocketkube_of_the_benchmark_image(
        "stage", "benchmark_litert", "--spec", spec, *inputs, "--output", tmp_path / "measured"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "measured" / "benchmark.json").exists()


def test_other_stages_miss_tensorflow_there(litert, tmp_path):
    done = pocketkube_of_the_benchmark_image("profile", litert / "model.tflite")
    assert "in the benchmark image" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_read_and_run(script):
    done = subprocess.run(["bash", "-n", ROOT / script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize(
    ("targets", "settings", "complaint"),
    [
        (("phone",), {}, "There is no image called phone; there are runtime and benchmark."),
        (("benchmark",), {"ARCHES": "amd64 mips"}, "ARCHES: mips is neither amd64 nor arm64."),
        (
            ("benchmark",),
            {"CA_CERTIFICATES": "/no/such/file"},
            "CA_CERTIFICATES: there is no /no/such/file.",
        ),
    ],
)
def test_a_wrong_request_is_answered_in_one_line(targets, settings, complaint):
    done = build(*targets, **settings)
    assert done.returncode == 2
    assert done.stderr.strip() == complaint


def test_a_machine_without_a_builder_is_told_what_to_install(machine):
    done = machine.run("images/build.sh", "benchmark")
    assert done.returncode == 2
    assert "apt-get install buildah" in done.stderr


def test_the_wheel_of_horovod_is_kept_for_the_next_build(machine):
    machine.has("id", "echo 0")
    machine.has(
        "buildah",
        "for word; do case $word in *dest=*)\n"
        "key=${word#*dest=}/key; mkdir $key; echo made > $key/a.whl;; esac; done",
    )
    done = machine.run("images/build.sh", "runtime")
    assert done.returncode == 0, done.stderr
    kept = machine.folder / "cache/pocketkube/horovod/key/a.whl"
    assert kept.read_text() == "made\n"
    assert [path for path in (machine.folder / "cache").rglob("*") if path.is_file()] == [kept]
