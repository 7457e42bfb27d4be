"""Compiled pipelines: the same content has the same digest, and arguments fit the parameters."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pocketkube.errors import UserError
from pocketkube.kube.kfp.package import (
    Package,
    arguments_of,
    checked_arguments,
    packages_in,
    read_package,
)

PARAMETERS = {
    "model": {"parameterType": "STRING"},
    "epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3.0, "isOptional": True},
    "rate": {"parameterType": "NUMBER_DOUBLE", "defaultValue": 0.1, "isOptional": True},
    "fast": {"parameterType": "BOOLEAN", "isOptional": True},
    "sizes": {"parameterType": "LIST", "isOptional": True},
    "target": {"parameterType": "STRUCT", "isOptional": True},
}


def document(name: str = "job") -> dict[str, Any]:
    return {
        "pipelineInfo": {"name": name},
        "root": {
            "inputDefinitions": {"parameters": PARAMETERS},
            "dag": {"tasks": {"train-model": {"taskInfo": {"name": "Train"}}, "report": {}}},
        },
        "components": {"comp-loop": {"dag": {"tasks": {"prune": {"taskInfo": {"name": "Prune"}}}}}},
        "deploymentSpec": {"executors": {"exec-a": {"container": {"image": "pocketkube:9"}}}},
    }


def written(path: Path, *documents: Any) -> Path:
    path.write_text(yaml.safe_dump_all(documents))
    return path


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return read_package(written(tmp_path / "job.yaml", document(), {"platforms": {}}))


def test_what_a_package_says_of_itself(package: Package) -> None:
    assert (package.name, package.images) == ("job", ("pocketkube:9",))
    assert package.titles == {"train-model": "Train", "report": "report", "prune": "Prune"}
    assert [name for name, each in package.parameters.items() if each.is_needed] == ["model"]
    assert package.version == f"job-{package.digest}"


def test_the_digest_is_of_the_content_not_of_its_order(package: Package, tmp_path: Path) -> None:
    turned = dict(reversed(document().items()))
    file = tmp_path / "turned.yaml"
    file.write_text("# a comment\n" + yaml.safe_dump_all([turned, {"platforms": {}}], sort_keys=False))
    assert read_package(file).digest == package.digest
    changed = written(tmp_path / "changed.yaml", document(), {"platforms": {"kubernetes": {}}})
    assert read_package(changed).digest != package.digest


def test_arguments_have_their_parameters_types(package: Package) -> None:
    words = ["model=3", "epochs=5", "rate=1e-3", "fast=true", "sizes=[1, 2]", "target={speedup: 2}"]
    assert arguments_of(package, words) == {
        "model": "3",
        "epochs": 5,
        "rate": 1e-3,
        "fast": True,
        "sizes": [1, 2],
        "target": {"speedup": 2},
    }
    assert arguments_of(package, ["model=a=b"]) == {"model": "a=b"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model"], "model needs the form NAME=VALUE"),
        (["model=a", "model=b"], "model is given twice"),
        (["model=a", "epoch=3"], "epoch: job has none of that name, but epochs, fast, model"),
        (["model=a", "epochs=2.5"], "epochs: 2.5 is not a whole number"),
        (["model=a", "epochs=true"], "epochs: true is not a whole number"),
        (["model=a", "rate=fast"], "rate: fast is not a number"),
        (["model=a", "fast=1"], "fast: 1 is not true or false"),
        (["model=a", "target=[1"], "target: .* is not a mapping"),
        ([], "job needs values for model"),
    ],
)
def test_wrong_arguments(package: Package, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        arguments_of(package, words)


def test_arguments_of_a_file_are_checked_likewise(package: Package) -> None:
    with pytest.raises(UserError, match='epochs: "3" is not a whole number'):
        checked_arguments(package, {"model": "a", "epochs": "3"})


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "", "just words", "- a list", "model: resnet20\n", "a: [", "\x00"]
)
def test_what_is_no_package(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=r"no compiled pipeline|no YAML"):
        read_package(tmp_path / "a.yaml")


def test_a_folder_stands_for_its_packages(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    (folder / "..data").mkdir(parents=True)
    written(folder / "b.yaml", document("b"))
    written(folder / "a.yaml", document("a"))
    (folder / "notes.txt").write_text("no package")
    assert [each.name for each in packages_in([folder])] == ["a", "b"]
    written(folder / "c.yaml", document("b"))
    with pytest.raises(UserError, match="both the pipeline b: upload one after the other, each"):
        packages_in([folder])
    with pytest.raises(UserError, match="no package"):
        packages_in([tmp_path])
    with pytest.raises(UserError, match="cannot be read"):
        packages_in([tmp_path / "absent.yaml"])
