"""Compiled pipelines: their name, their parameters, and a digest that says whether two are the same."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketkube.errors import UserError
from pocketkube.kube.kfp.yaml_text import document_of, documents_of

DIGEST_LENGTH = 12


@dataclass(frozen=True)
class Parameter:
    """A parameter of a pipeline.

    Attributes:
        kind: KFP's word for its type: STRING, NUMBER_INTEGER, NUMBER_DOUBLE, BOOLEAN, LIST or STRUCT.
        is_needed: Whether it has no default.
    """

    kind: str
    is_needed: bool


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
        path: Its file.
        name: The pipeline's name.
        digest: The same for the same content, however it is written down.
        parameters: By name.
        titles: What each task is called for people, by the task's name.
        images: The images that its tasks run in.
    """

    path: Path
    name: str
    digest: str
    parameters: Mapping[str, Parameter]
    titles: Mapping[str, str]
    images: tuple[str, ...]

    @property
    def version(self) -> str:
        """The name of the version that it makes: the pipeline's, and the digest."""
        return f"{self.name}-{self.digest}"


def read_package(path: Path) -> Package:
    """Reads a file that KFP's compiler has written.

    Raises:
        UserError: If it is missing, or no such file.
    """
    try:
        documents = documents_of(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    except ValueError:
        raise UserError(f"{path} is no YAML; give a package that KFP's compiler has written.") from None
    try:
        spec = documents[0]
        return Package(
            path=path,
            name=str(spec["pipelineInfo"]["name"]),
            digest=digest_of(documents),
            parameters=_parameters(spec["root"]),
            titles=dict(_titles(spec)),
            images=tuple(sorted(_images(spec))),
        )
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError):
        raise UserError(
            f"{path} is no compiled pipeline: it has no pipelineInfo and root; make one with "
            "make pipelines."
        ) from None


def packages_in(paths: Sequence[Path]) -> tuple[Package, ...]:
    """Reads packages; of a folder, its files that end in .yaml.

    Raises:
        UserError: If there are none, one cannot be read, or two are of one pipeline.
    """
    files = [
        file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])
    ]
    if not files:
        raise UserError(f"{' '.join(map(str, paths))}: there is no package (*.yaml) in it.")
    by_name: dict[str, Package] = {}
    for package in map(read_package, files):
        other = by_name.setdefault(package.name, package)
        if other is not package:
            raise UserError(
                f"{other.path} and {package.path} are both the pipeline {package.name}: upload one "
                "after the other, each as a version of it; or compile one from a spec of another name."
            )
    return tuple(by_name.values())


def arguments_of(package: Package, words: Sequence[str]) -> dict[str, Any]:
    """Reads arguments such as epochs=3.

    Args:
        package: Whose parameters they are for.
        words: Each a name and a value; of a list or a struct the value is YAML or JSON.

    Raises:
        UserError: If one is unknown, given twice or of another type, or one that is needed is missing.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--parameter: {word} needs the form NAME=VALUE, as in epochs=3.")
        if name in found:
            raise UserError(f"--parameter: {name} is given twice.")
        if name not in package.parameters:
            raise UserError(_unknown(package, name))
        found[name] = _value(name, value, package.parameters[name].kind)
    return checked_arguments(package, found)


def checked_arguments(package: Package, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Checks arguments that have their types already.

    Raises:
        UserError: As `arguments_of` does.
    """
    for name, value in arguments.items():
        if name not in package.parameters:
            raise UserError(_unknown(package, name))
        kind = package.parameters[name].kind
        if not _fits(value, kind):
            raise UserError(_misfit(name, json.dumps(value), kind))
    missing = [
        name for name, each in package.parameters.items() if each.is_needed and name not in arguments
    ]
    if missing:
        raise UserError(f"{package.name} needs values for {', '.join(missing)}; they have no default.")
    return dict(arguments)


def digest_of(document: Any) -> str:
    """A short digest of plain values, whatever the order of their keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


_FITTING: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}
_WORDS = {
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": "a list, as in [1, 2]",
    "STRUCT": "a mapping, as in {epochs: 3}",
}


def _parameters(root: Mapping[str, Any]) -> dict[str, Parameter]:
    declared = root.get("inputDefinitions", {}).get("parameters", {})
    return {
        name: Parameter(
            each["parameterType"],
            is_needed="defaultValue" not in each and not each.get("isOptional", False),
        )
        for name, each in declared.items()
    }


def _titles(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    dags = [spec["root"], *spec.get("components", {}).values()]
    return [
        (name, task.get("taskInfo", {}).get("name") or name)
        for dag in dags
        for name, task in dag.get("dag", {}).get("tasks", {}).items()
    ]


def _images(spec: Mapping[str, Any]) -> set[str]:
    executors = spec.get("deploymentSpec", {}).get("executors", {}).values()
    return {each["container"]["image"] for each in executors if "container" in each}


def _value(name: str, text: str, kind: str) -> Any:
    if kind == "STRING":
        return text
    try:
        value = document_of(text)
    except ValueError:
        value = text
    if kind == "NUMBER_DOUBLE" and isinstance(value, str):
        # YAML 1.1 takes 1e-3 for text.
        with suppress(ValueError):
            value = float(value)
    if not _fits(value, kind):
        raise UserError(_misfit(name, text, kind))
    return value


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "BOOLEAN"
    return isinstance(value, _FITTING.get(kind, (object,)))


def _misfit(name: str, text: str, kind: str) -> str:
    return f"parameter {name}: {text} is not {_WORDS.get(kind, 'a text')}."


def _unknown(package: Package, name: str) -> str:
    return (
        f"parameter {name}: {package.name} has none of that name, but "
        f"{', '.join(sorted(package.parameters)) or 'none at all'}."
    )
