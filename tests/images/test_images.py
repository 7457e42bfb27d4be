"""What can be said of the images without building them; a cluster's tests run the images themselves."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from pocketkube import __version__
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
        (
            ("phone",),
            {},
            "There is no image called phone; there are runtime, benchmark and suggestion.",
        ),
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


# What an image holds, to a buildah that is only played: its files need no place on the disk.
HOLDS = """
case $1 in
    inspect) [[ $* != *absent* ]] && echo amd64 ;;
    from) echo container ;;
    mount)
        root=$(mktemp -d)
        packages=$root/opt/pocketkube/lib/python3.11/site-packages
        mkdir -p $packages/tensorflow/python $packages/small $root/usr/lib/python3.11 $root/usr/bin
        truncate -s 500M $packages/tensorflow/library.so
        truncate -s 20M $packages/tensorflow/python/more.so $root/usr/bin/program
        truncate -s 9M $packages/small/a $root/usr/lib/python3.11/b
        echo $root ;;
esac
"""
PARTS = """pocketkube-benchmark:1: 585 MB
     545 MB  tensorflow
      21 MB  Debian: /usr/bin
      19 MB  each smaller than 10 MB
"""


@pytest.fixture
def buildah(machine):
    machine.has("id", "echo 0")
    machine.has("buildah", HOLDS)
    return machine


def test_the_benchmark_of_each_architecture_has_one_name(buildah):
    done = buildah.run("images/build.sh", "benchmark", ARCHES="amd64 arm64")
    assert done.returncode == 0, done.stderr
    index = f"pocketkube-benchmark:{__version__}"
    calls = [call for call in buildah.calls("buildah") if " manifest " in call]
    assert calls == [
        f"buildah manifest rm {index}",
        f"buildah manifest create {index}",
        f"buildah manifest add {index} containers-storage:localhost/{index}-amd64",
        f"buildah manifest add {index} containers-storage:localhost/{index}-arm64",
    ]
    assert not [call for call in buildah.calls("buildah") if " push " in call]


def test_a_registry_gets_the_images_and_the_index(buildah):
    done = buildah.run("images/build.sh", "benchmark", ARCHES="amd64 arm64", REGISTRY="there/team")
    assert done.returncode == 0, done.stderr
    index = f"pocketkube-benchmark:{__version__}"
    assert [call for call in buildah.calls("buildah") if " push " in call] == [
        f"buildah push --quiet {index}-amd64 docker://there/team/{index}-amd64",
        f"buildah push --quiet {index}-arm64 docker://there/team/{index}-arm64",
        f"buildah manifest push --all --quiet {index} docker://there/team/{index}",
    ]


def test_a_registry_that_refuses_ends_the_build_in_one_line(machine):
    machine.has("id", "echo 0")
    machine.has("buildah", "[ $1 != push ]")
    done = machine.run("images/build.sh", "benchmark", ARCHES="amd64", REGISTRY="there/team")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"there/team/pocketkube-benchmark:{__version__}-amd64 could not be pushed; "
        "the lines above say why."
    )


def test_with_docker_the_index_is_made_in_the_registry(machine):
    machine.has("docker", "[ $1 != export ] || tar --create --files-from /dev/null")
    done = machine.run("images/build.sh", "benchmark", ARCHES="amd64 arm64", REGISTRY="there/team")
    assert done.returncode == 0, done.stderr
    name = f"there/team/pocketkube-benchmark:{__version__}"
    assert [call for call in machine.calls("docker") if " push " in call or "imagetools" in call] == [
        f"docker push --quiet {name}-amd64",
        f"docker push --quiet {name}-arm64",
        f"docker buildx imagetools create --tag {name} {name}-amd64 {name}-arm64",
    ]


def test_the_large_parts_of_an_image_are_named(buildah):
    done = buildah.run("images/sizes.sh", "pocketkube-benchmark:1")
    assert (done.returncode, done.stdout) == (0, PARTS), done.stderr


def test_docker_names_the_same_parts(machine, tmp_path):
    root = tmp_path / "root"
    packages = root / "opt/pocketkube/lib/python3.11/site-packages"
    for file, size in {
        packages / "tensorflow/library.so": 500,
        packages / "tensorflow/python/with space.so": 20,
        root / "usr/bin/program": 20,
        packages / "small/a": 9,
        root / "usr/lib/python3.11/b": 9,
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as sparse:
            sparse.truncate(size << 20)
    listed = f"[ $1 != export ] || tar --create --directory {root} --transform 's,^[.]/,,' ."
    machine.has("docker", listed)
    done = machine.run("images/sizes.sh", "pocketkube-benchmark:1")
    assert (done.returncode, done.stdout) == (0, PARTS), done.stderr


@pytest.mark.parametrize("script", ["sizes.sh", "sbom.sh"])
def test_an_image_that_is_not_there_is_told(buildah, script):
    buildah.has("syft")
    done = buildah.run(f"images/{script}", "absent:1")
    assert done.returncode == 2
    assert done.stderr.strip() == "buildah has no image absent:1: make images builds ours."


def test_what_the_images_hold_is_written_by_syft(buildah):
    place = ROOT / "build/sbom"
    wrote = "for word; do case $word in cyclonedx-json=*) echo '{}' > ${word#*=};; esac; done"
    buildah.has("syft", wrote)
    done = buildah.run("images/sbom.sh", "pocketkube-tested:1")
    try:
        assert done.returncode == 0, done.stderr
        assert (place / "pocketkube-tested-1.cdx.json").read_text() == "{}\n"
    finally:
        (place / "pocketkube-tested-1.cdx.json").unlink(missing_ok=True)
    (call,) = buildah.calls("syft")
    assert "--source-name pocketkube-tested --source-version 1 " in call


def test_what_fails_leaves_no_half_of_it(buildah):
    buildah.has("syft", "exit 1")
    done = buildah.run("images/sbom.sh", "pocketkube-tested:1")
    assert done.returncode
    assert not [*(ROOT / "build/sbom").glob("pocketkube-tested*")]


def test_a_machine_without_syft_and_go_is_told_what_is_missing(buildah):
    done = buildah.run("images/sbom.sh", "pocketkube-tested:1")
    assert done.returncode == 2
    assert "needs syft, or Go" in done.stderr


def test_the_runtime_image_can_speak_to_a_cluster():
    assert {"kfp", "kfp-kubernetes", "kubernetes"} <= set(locked_versions("runtime"))


def test_the_wheel_of_horovod_is_kept_for_the_next_build(machine):
    machine.has("id", "echo 0")
    machine.has(
        "buildah",
        "for word; do case $word in *dest=*)\n"
        "key=${word#*dest=}/key; mkdir $key; echo made > $key/a.whl;; esac; done\n"
        "[ $1 != mount ] || mktemp -d",
    )
    done = machine.run("images/build.sh", "runtime")
    assert done.returncode == 0, done.stderr
    kept = machine.folder / "cache/pocketkube/horovod/key/a.whl"
    assert kept.read_text() == "made\n"
    assert [path for path in (machine.folder / "cache").rglob("*") if path.is_file()] == [kept]


def test_workers_forward_nothing_over_ssh() -> None:
    told = dict(
        line.split(maxsplit=1)
        for line in (ROOT / "images/ssh/sshd_config").read_text().splitlines()
        if line and not line.startswith("#")
    )
    forwarding = ("AllowAgentForwarding", "AllowTcpForwarding", "AllowStreamLocalForwarding")
    assert {told[key] for key in (*forwarding, "X11Forwarding")} == {"no"}
