"""A spec's job as a package: the same from one process to the next, of nothing that is only here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pocketkube
from pocketkube.errors import UserError
from pocketkube.kube.kfp.compiled import compile_job
from pocketkube.kube.kfp.package import read_package

CHECKOUT = Path(pocketkube.__file__).parents[1]
PROGRAM = (
    "import sys; from pathlib import Path; from pocketkube.kube.kfp.compiled import compile_job; "
    "compile_job(Path(sys.argv[1]), Path(sys.argv[2]))"
)
# An editable install would find the checkout's folders wherever it runs.
INSTALLED = (
    "import sys; sys.meta_path[:] = [each for each in sys.meta_path if 'Editable' not in repr(each)]; "
)


def write(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


@pytest.mark.slow
def test_the_digest_is_the_same_in_each_process_and_follows_the_spec(tmp_path: Path) -> None:
    spec = write(
        tmp_path, "model: lenet\ndataset: digits\nstages: [prune_channels]\ntarget: {speedup: 2}\n"
    )
    compile_job(spec, tmp_path / "here" / "spec.yaml")
    elsewhere = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", PROGRAM, spec, tmp_path / "there" / "spec.yaml"]
    # From a folder that has no pipelines/ of its own: the checkout's is found.
    subprocess.run(command, check=True, cwd=tmp_path, env=elsewhere)
    here, there = (read_package(tmp_path / place / "spec.yaml") for place in ("here", "there"))
    assert here.version == there.version
    assert here.name == "compress-model-spec"
    spec.write_text(spec.read_text() + "training: {epochs: 7}\n")
    compile_job(spec, tmp_path / "changed" / "spec.yaml")
    assert read_package(tmp_path / "changed" / "spec.yaml").digest != here.digest


@pytest.mark.parametrize(
    "changes",
    ["model: net.keras\ndataset: digits", "model: lenet\ndataset: {npz: data/a.npz}"],
)
def test_places_of_this_machine_are_refused(tmp_path: Path, changes: str) -> None:
    spec = write(tmp_path, f"{changes}\nstages: [prune_channels]\ntarget: {{speedup: 2}}\n")
    with pytest.raises(UserError, match=r"net\.keras|a\.npz") as refused:
        compile_job(spec, tmp_path / "a.yaml")
    assert "s3://" in str(refused.value)
    assert not (tmp_path / "a.yaml").exists()


def test_an_installed_package_has_no_pipelines(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "pocketkube", tmp_path / "site" / "pocketkube")
    spec = write(
        tmp_path, "model: lenet\ndataset: digits\nstages: [prune_channels]\ntarget: {speedup: 2}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED + PROGRAM, spec, tmp_path / "a.yaml"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )
    assert "--package" in done.stderr.splitlines()[-1]
    assert "UserError" in done.stderr.splitlines()[-1]
