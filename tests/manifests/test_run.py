"""manifests/examples/run.sh, with a kubectl that answers what a cluster would."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.manifests.rendering import MANIFESTS

# Answers by files of its folder, whose names are the words that it is asked with.
KUBECTL = """\
#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> asked
case "$*" in
    *" get secret "*) test -e secret ;;
    *" get mpijob/"*" --ignore-not-found "*) cat before ;;
    *" --ignore-not-found "*) ;;
    *.uid}*) echo 1234 ;;
    *" get mpijob/"*) cat train ;;
    *" get job/"*) echo " Complete " ;;
    *" get pods "*) cat waiting; test -s waiting && echo " Failed " > train ;;
    *" get events "*involvedObject.uid=1234*) echo "exceeded quota"; echo " Failed " > train ;;
    *" logs "*) echo "pocketkube: the images are of another range" ;;
    *" get configmap "*) echo s3://bucket/work ;;
esac
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder of answers: training has succeeded, unless they are changed."""
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    (tmp_path / "secret").touch()
    (tmp_path / "train").write_text(" Created  Succeeded ")
    (tmp_path / "waiting").touch()
    (tmp_path / "before").touch()
    return tmp_path


def run(cluster: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MANIFESTS / "examples" / "run.sh", MANIFESTS / "overlays" / "demo"],
        env={**os.environ, "PATH": f"{cluster}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def asked(cluster: Path) -> str:
    return (cluster / "asked").read_text()


def test_each_job_begins_when_the_one_before_has_ended(cluster: Path) -> None:
    done = run(cluster)
    assert done.returncode == 0, done.stderr
    words = asked(cluster)
    order = [" delete ", "apply ", "get mpijob/pocketkube-train -o", "patch job/pocketkube-compress"]
    places = [words.index(each) for each in [*order, "patch job/pocketkube-benchmark"]]
    assert places == sorted(places)
    assert "s3://bucket/work/examples/result/model.tflite" in done.stdout


def test_a_job_that_fails_is_the_last_and_its_words_and_what_it_waited_for_are_shown(
    cluster: Path,
) -> None:
    (cluster / "train").write_text(" Created ")
    (cluster / "waiting").write_text("ContainerCreating \nImagePullBackOff no such image\n")
    done = run(cluster)
    assert done.returncode == 1
    assert "waits: ImagePullBackOff no such image" in done.stderr
    assert "ContainerCreating" not in done.stderr
    assert "pocketkube: the images are of another range" in done.stderr
    assert "mpijob/pocketkube-train has failed" in done.stderr
    assert "patch" not in asked(cluster)


def test_a_job_that_has_too_few_pods_says_why(cluster: Path) -> None:
    (cluster / "train").write_text(" Created ")
    assert "mpijob/pocketkube-train waits: exceeded quota" in run(cluster).stderr


def test_a_run_that_goes_on_is_left_alone_and_one_that_has_ended_is_replaced(cluster: Path) -> None:
    (cluster / "before").write_text("MPIJob Created  Running ")
    done = run(cluster)
    assert done.returncode == 2
    assert "mpijob/pocketkube-train is running; wait for its end, or end it: kubectl" in done.stderr
    assert "apply" not in asked(cluster)
    (cluster / "before").write_text("MPIJob Created  Failed ")
    assert run(cluster).returncode == 0


def test_without_the_secret_nothing_is_changed(cluster: Path) -> None:
    (cluster / "secret").unlink()
    done = run(cluster)
    assert done.returncode == 2
    assert "needs the Secret mlpipeline-minio-artifact: docs/kubeflow/install.md" in done.stderr
    assert "apply" not in asked(cluster)
    assert "delete" not in asked(cluster)
