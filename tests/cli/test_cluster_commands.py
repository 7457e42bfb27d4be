"""submit, upload and doctor refuse a mistake in one line, before any server is asked."""

from pathlib import Path

import pytest
import yaml

from tests.cli.test_bad_input import refused

# Nobody listens there: whoever asks it says so.
NOWHERE = ("--endpoint", "http://127.0.0.1:9")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "package.yaml"
    parameters = {"epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3}}
    document = {
        "pipelineInfo": {"name": "job"},
        "root": {"inputDefinitions": {"parameters": parameters}, "dag": {"tasks": {}}},
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--every", "0 3 * * 1"), "--every: '0 3 * * 1' has five fields, which Kubeflow Pipelines"),
        (("--every", "0 0 3 * * 1", "--follow"), "leave out --follow or --every"),
        (
            ("--every", "0 0 3 * * 1", "--max-concurrency", "11"),
            "--max-concurrency: must be at most 10; r",
        ),
        (("--parameter", "epochs=many"), "epochs: many is not a whole number"),
        (("--catch-up",), "only with --every"),
        ((), "http://127.0.0.1:9 cannot be reached"),
    ],
)
def test_submit(package: Path, words: tuple[str, ...], line: str) -> None:
    assert line in refused("submit", "--package", package, *words, *NOWHERE)


def test_a_spec_that_is_wrong_or_reads_what_is_here_alone(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "model: net.keras\ndataset: digits\nstages: [prune_channels]\ntarget: {speedup: 2}\n"
    )
    assert "net.keras is a path of this machine" in refused("submit", spec, *NOWHERE)
    spec.write_text("model: lenet\n")
    assert "spec.yaml line 1" in refused("submit", spec, *NOWHERE)
    assert "there is no such file" in refused("submit", tmp_path / "absent.yaml", *NOWHERE)


def test_upload(package: Path, tmp_path: Path) -> None:
    schedules = tmp_path / "schedules.txt"
    schedules.write_text("schedules: [{name: a, pipeline: other, cron: '0 0 3 * * 1'}]")
    line = refused("upload", package, "--schedules", schedules, *NOWHERE)
    assert "no package of the pipeline other is given, but of job" in line
    assert "cannot be read" in refused("upload", tmp_path / "absent", *NOWHERE)


def test_doctor_without_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert "KUBECONFIG" in refused("doctor", *NOWHERE)


@pytest.mark.parametrize("command", ["submit --package", "upload"])
def test_without_an_endpoint_and_a_cluster_it_is_asked_for(
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path))
    for name in ("KF_PIPELINES_ENDPOINT", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    line = refused(*command.split(), package)
    assert "give --endpoint, as in http://localhost:8888" in line
    assert capsys.readouterr().out == ""
