"""Says in a sentence what is wrong with a value of a spec and what would be right."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pocketkube.errors import did_you_mean, to_use_instead
from pocketkube.extension import Registry, datasets, stages, tasks
from pocketkube.spec.sections import DatasetSettings
from pocketkube.spec.spec import Spec
from pocketkube.spec.stage_settings import STAGE_NAMES, added_stage

# Nobody reads more.
MOST = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        steps: Keys and list positions that lead there in the document as it was written.
        path: The same for people, as in "stages.prune_channels.criterion".
        message: What is wrong and what would be right.
    """

    steps: tuple[Any, ...]
    path: str
    message: str


def problems_of(error: ValidationError, document: Any, root: type[BaseModel] = Spec) -> list[Problem]:
    """Puts pydantic's errors in a spec user's words.

    Args:
        error: What validating the document raised.
        document: The document as it was written, short forms and all.
        root: What it was validated as.

    Returns:
        At least one problem, and no more than `MOST`.
    """
    return [_problem(detail, document, root) for detail in error.errors()[:MOST]]


def _problem(detail: ErrorDetails, document: Any, root: type[BaseModel]) -> Problem:
    loc = [part for part in detail["loc"] if part != "[key]"]
    if detail["type"] == "invalid_key":
        # What the location has in its place is no more than text.
        loc[-1] = detail["input"]
    message = _message(detail, loc, root)
    if not loc and ": " in message:
        # Checks over the whole spec begin with the key that they speak of.
        key, message = message.split(": ", 1)
        loc = [*key.split(".")]
    steps, path = _place(loc, document)
    return Problem(steps, path, message)


def _place(loc: Sequence[str | int], document: Any) -> tuple[tuple[str | int, ...], str]:
    """Follows pydantic's location through the document as written.

    A stage's name is in the location whichever way the stage was written; "builtin" is where the
    data set was a mere name.
    """
    steps: list[str | int] = []
    words: list[str] = []
    here = document
    for depth, part in enumerate(loc):
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            here = here[part]
            steps.append(part)
            if not (depth + 1 < len(loc) and _names_stage(loc[depth + 1])):
                words.append(f"[{part}]")
            continue
        elif isinstance(here, str) and part == "builtin":
            break
        elif part == "added" and isinstance(here, str | Mapping):
            # Written by its name alone, without this key around it.
            continue
        elif loc[0] == "stages" and depth == 2:
            # Written as a name alone or as {name: ...}: names the stage, leads nowhere.
            words.append(f".{part}")
            continue
        else:
            here = None
        steps.append(part)
        words.append(f".{part if isinstance(part, str) else _shown(part)}")
    return tuple(steps), "".join(words).removeprefix(".")


def _message(detail: ErrorDetails, loc: Sequence[str | int], root: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    received = f"received {_shown(detail['input'])}"
    if kind in _BOUNDS:
        word, limit = _BOUNDS[kind]
        return f"must be {word} {context[limit]:g}; {received}"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}; {received}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        choices = [
            choice.strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")
        ]
        return _unknown(detail["input"], choices) + _hint_of_source(loc, detail["input"])
    if kind == "union_tag_invalid":
        return _unknown(context["tag"], stages.names(STAGE_NAMES), "a stage")
    if kind in ("union_tag_not_found", "model_type", "model_attributes_type") and _is_stage(loc):
        return (
            "a stage is a name or {name: {setting: value}}, its settings indented below its name; "
            f"{received}"
        )
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"must be a mapping of settings to values; {received}"
    if kind == "missing" and loc and isinstance(loc[-1], int):
        return f"a value is missing: give {loc[-1] + 1}"
    if kind == "missing":
        return f"is missing; give {_description(loc, root)}"
    if kind == "extra_forbidden":
        return _unknown_key(loc, root)
    if kind in ("too_short", "too_long"):
        word, limit = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        return f"must have at {word} {context[limit]} values; {received}"
    text = detail["msg"]
    return f"{text[0].lower()}{text[1:]}; {received}"


_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list, as in [a, b]",
    "invalid_key": "a name (quote it if it looks like a number)",
}


def _unknown(value: Any, choices: Sequence[str], what: str = "known") -> str:
    return f"{_shown(value)} is not {what}{to_use_instead(str(value), choices)}"


def _hint_of_source(loc: Sequence[str | int], value: Any) -> str:
    if tuple(loc) == ("dataset", "builtin"):
        return f", or say what your data is, as in {{npz: {value if '.' in str(value) else 'f.npz'}}}"
    return ""


def _unknown_key(loc: Sequence[str | int], root: type[BaseModel]) -> str:
    key = str(loc[-1])
    known = list(_model_at(loc[:-1], root).model_fields)
    # A stage's name is not one of its settings.
    known = [name for name in known if not (name == "name" and len(loc) > 1)]
    if question := did_you_mean(key, known):
        return f"is not a known key; {question}"
    owners = [
        name
        for name, field in root.model_fields.items()
        if (model := _model_in(field.annotation)) and key in model.model_fields
    ]
    if owners and len(loc) == 1:
        return f"is not a key of its own; it belongs under {' or '.join(owners)}"
    return f"is not a known key; use one of {', '.join(known)}"


def _description(loc: Sequence[str | int], root: type[BaseModel]) -> str:
    field = _model_at(loc[:-1], root).model_fields[str(loc[-1])]
    text = (field.description or "a value").rstrip(".")
    return f"{text[0].lower()}{text[1:]}"


def _is_stage(loc: Sequence[str | int]) -> bool:
    return len(loc) == 2 and loc[0] == "stages"


def _model_at(loc: Sequence[str | int], root: type[BaseModel]) -> type[BaseModel]:
    """The model whose fields stand at a location."""
    model = root
    added: Registry | None = None
    for part in loc:
        if added is not None:
            model, added = added.get(str(part)), None
        elif _names_stage(part):
            model = stage_model(str(part))
        elif part == "added":
            added = datasets if model is DatasetSettings else tasks
        elif part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation) or model
    return model


def _names_stage(part: str | int) -> bool:
    return part in STAGE_NAMES or added_stage(part) is not None


def stage_model(name: str) -> type[BaseModel]:
    """The settings of the stage of that name."""
    return added_stage(name) or next(
        model
        for model in models_in(Spec.model_fields["stages"].annotation)
        if name in get_args(model.model_fields["name"].annotation)
    )


def _model_in(annotation: Any) -> type[BaseModel] | None:
    models = models_in(annotation)
    return models[0] if len(models) == 1 else None


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's annotation names, through unions, tuples and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType, tuple):
        return [model for part in get_args(annotation) for model in models_in(part)]
    return []


def _shown(value: Any) -> str:
    """A value as the user wrote it, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        value = list(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
