"""Reads the YAML of an Experiment into Katib's own models, refusing what their schema does not have."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pocketkube.errors import UserError
from pocketkube.spec.reading import said
from pocketkube.spec.source import Wanted, line_of, read_document

if TYPE_CHECKING:
    from kubeflow_katib_api.models import V1beta1Experiment

Steps = tuple[str | int, ...]
EXPERIMENT = Wanted("a Katib Experiment", "kind: Experiment")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        steps: Keys and list positions that lead there.
        message: What is wrong and what would be right.
    """

    steps: Steps
    message: str


@dataclass(frozen=True)
class Source:
    """A file that was read.

    Attributes:
        path: The file.
        root: Its YAML, which knows lines.
        model: What it says.
    """

    path: Path
    root: yaml.MappingNode
    model: "V1beta1Experiment"

    def refuse(self, problems: Sequence[Problem]) -> None:
        """Raises one line for all problems; nothing where there are none.

        Raises:
            UserError: If there are problems: with the line of each, in the order of the lines.
        """
        _refuse(self.path, self.root, problems)


def read_source(path: Path) -> Source:
    """Reads a file.

    Args:
        path: A YAML file with one Experiment; its status is not looked at.

    Raises:
        UserError: If it cannot be read, is no YAML, or has keys or values that the schema of
            Experiments has not, or if Katib's models are not installed.
    """
    document, root = read_document(path, EXPERIMENT)
    kind = (document.get("apiVersion"), document.get("kind"))
    if kind != ("kubeflow.org/v1beta1", "Experiment"):
        raise UserError(
            f"{path.name}: has to be a kubeflow.org/v1beta1 Experiment; received "
            f"apiVersion: {kind[0]}, kind: {kind[1]}."
        )
    model = _model()
    content = {key: value for key, value in document.items() if key != "status"}
    problems = list(_unknown_keys(content, model, ()))
    try:
        experiment = model.model_validate(content)
    except ValidationError as error:
        problems += _wrong_values(error, content)
    _refuse(path, root, problems)
    return Source(path, root, experiment)


def _model() -> type["V1beta1Experiment"]:
    try:
        from kubeflow_katib_api.models import V1beta1Experiment
    except ImportError:
        raise UserError(
            "Katib's models are not installed: pip install '.[cluster]' in PocketKube's checkout."
        ) from None
    return V1beta1Experiment


def _refuse(path: Path, root: yaml.MappingNode, problems: Sequence[Problem]) -> None:
    placed = sorted(((line_of(root, each.steps), each) for each in problems), key=lambda pair: pair[0])
    if placed:
        raise UserError(
            f"{path.name} "
            + said([f"line {line}: {_path(each.steps)}: {each.message}" for line, each in placed])
        )


def _path(steps: Steps) -> str:
    words = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps]
    return "".join(words).removeprefix(".")


def _unknown_keys(value: Any, model: type[BaseModel], steps: Steps) -> Iterator[Problem]:
    """The models take any key: each is looked for among their fields."""
    if not isinstance(value, Mapping):
        return
    known = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, item in value.items():
        if key not in known:
            yield Problem((*steps, key), f"is not a known key; use one of {', '.join(known)}")
        elif inner := _model_in(known[key].annotation):
            items = enumerate(item) if isinstance(item, list) else [(None, item)]
            for index, each in items:
                place = (*steps, key) if index is None else (*steps, key, index)
                yield from _unknown_keys(each, inner, place)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _wrong_values(error: ValidationError, content: Any) -> Iterator[Problem]:
    seen: set[Steps] = set()
    for detail in error.errors():
        steps = _steps_in(content, detail["loc"])
        # A value that may be of two kinds is refused once for each.
        if steps in seen:
            continue
        seen.add(steps)
        kind = detail["type"]
        wanted = _KINDS.get(kind, f"valid ({detail['msg']})")
        hint = "; put it in quotes" if kind == "string_type" and _is_number(detail["input"]) else ""
        if kind == "missing":
            yield Problem(steps, f"{detail['loc'][-1]} is missing")
        else:
            yield Problem(steps, f"must be {wanted}; received {detail['input']!r:.60}{hint}")


_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _steps_in(content: Any, loc: Sequence[str | int]) -> Steps:
    """As much of a location as there is in the document."""
    steps: list[str | int] = []
    for part in loc:
        is_key = isinstance(content, Mapping) and part in content
        if not is_key and not (isinstance(content, list) and isinstance(part, int)):
            break
        content = content[part]
        steps.append(part)
    return tuple(steps)
