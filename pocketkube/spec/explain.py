"""Tells what may stand in a spec: a listing for people, a JSON Schema for editors."""

import json
import textwrap
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pocketkube.extension import datasets, tasks
from pocketkube.extension import stages as added
from pocketkube.spec.added import Choice
from pocketkube.spec.problems import models_in, stage_model
from pocketkube.spec.sections import SOURCES, DatasetSettings
from pocketkube.spec.sections.target import ASKED
from pocketkube.spec.sections.task import TASKS
from pocketkube.spec.spec import Spec
from pocketkube.spec.stage_settings import STAGE_NAMES

WIDTH = 100


def explain(kind: type[BaseModel] = Spec) -> str:
    """Every field of a spec, or of other settings, with its default, what it may be and what it means.

    Returns:
        Lines in the form of a file: fields indented below those they belong to.
    """
    return "\n".join([*_fields(kind, ""), ""])


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec file, short forms included.

    Returns:
        A schema that editors use to complete and check; what contradicts itself between fields
        only loading finds.
    """
    schema = Spec.model_json_schema()
    properties = schema["properties"]
    builtins = _choices(DatasetSettings.model_fields["builtin"].annotation)
    properties["dataset"] = _either({"enum": [*builtins, *datasets.names()]}, properties["dataset"])
    modules = properties["imports"]
    properties["imports"] = {**modules, "items": _either({"type": "string"}, modules["items"])}
    properties["task"] = _either({"enum": list(tasks.names(TASKS))}, properties["task"])
    definitions = schema["$defs"]
    weights = definitions["Training"]["properties"]
    by_class = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}
    weights["class_weights"] = _either(by_class, weights["class_weights"])
    definitions["DatasetSettings"]["oneOf"] = _given(definitions["DatasetSettings"], SOURCES)
    definitions["Target"]["anyOf"] = _given(definitions["Target"], ASKED)
    definitions["Target"]["dependentRequired"] = {"latency_table": ["max_latency_ms"]}
    stages: list[dict[str, Any]] = [{"enum": list(STAGE_NAMES)}]
    for name in STAGE_NAMES:
        whole = definitions[stage_model(name).__name__]
        settings = {k: v for k, v in whole["properties"].items() if k != "name"}
        inner = {"type": ["object", "null"], "properties": settings, "additionalProperties": False}
        stages.append(
            {
                "type": "object",
                "properties": {name: inner},
                "required": [name],
                "additionalProperties": False,
            }
        )
    stages += [{"const": name} | {"description": added.origin(name).who} for name in added.names()]
    stages.append(properties["stages"]["items"])
    properties["stages"] = {**properties["stages"], "items": {"anyOf": stages}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _fields(model: type[BaseModel], indent: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if model is Spec and name == "stages":
            yield from _stages(field, indent)
            continue
        if name == "name" and indent:
            continue
        # People name modules; how one is handed on is for machines.
        inner = [] if (model, name) == (Spec, "imports") else models_in(field.annotation)
        yield from _described(name, field, indent, nested=bool(inner))
        for part in inner:
            yield from _fields(part, indent + "  ")


def _stages(field: FieldInfo, indent: str) -> Iterator[str]:
    yield from _described("stages", field, indent, nested=True)
    for name in STAGE_NAMES:
        model = stage_model(name)
        yield f"{indent}  - {name}:"
        yield from _wrapped((model.__doc__ or "").strip().splitlines()[0], indent + "      ")
        yield from _fields(model, indent + "      ")


def _described(name: str, field: FieldInfo, indent: str, nested: bool) -> Iterator[str]:
    if nested:
        yield f"{indent}{name}:{'' if field.is_required() else '  # may be left out'}"
    else:
        default = "(needed)" if field.is_required() else _yaml(field.get_default())
        yield f"{indent}{name}: {default}{_allowed(field)}"
    yield from _wrapped(field.description or "", indent + "  ")


def _wrapped(text: str, indent: str) -> Iterator[str]:
    lead = f"{indent}# "
    yield from textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=lead)


def _allowed(field: FieldInfo) -> str:
    builtin = [name for rule in field.metadata if isinstance(rule, Choice) for name in rule.builtin]
    choices = ", ".join(map(str, [*_choices(field.annotation), *builtin]))
    limits = ", ".join(_limits(field))
    if choices and limits:
        return f"  # {limits}, or {choices}"
    if choices:
        return f"  # one of: {choices}"
    return f"  # {limits}" if limits else ""


def _limits(field: FieldInfo) -> list[str]:
    """Bounds of a field, of one form of it, or of each of its entries."""
    annotation = field.annotation
    forms = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    own = [bound for form in forms for bound in _bounds(_rules(form))]
    entries = [f"each {bound}" for bound in ([] if own else _inner_bounds(annotation))]
    return _bounds(field.metadata) + own + entries


def _rules(annotation: Any) -> list[Any]:
    """What `Annotated` says beside a type."""
    if get_origin(annotation) is not Annotated:
        return []
    return [rule for extra in get_args(annotation)[1:] for rule in getattr(extra, "metadata", ())]


def _bounds(rules: Iterable[Any]) -> list[str]:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return [
        f"{word} {getattr(rule, key):g}"
        for rule in rules
        for key, word in words.items()
        if getattr(rule, key, None) is not None
    ]


def _inner_bounds(annotation: Any) -> list[str]:
    """Bounds of the entries of a list or a mapping, once each."""
    found = []
    for part in get_args(annotation):
        found += _bounds(_rules(part)) + _inner_bounds(part)
    return list(dict.fromkeys(found))


def _choices(annotation: Any) -> list[Any]:
    """The values of a Literal, also inside a union with None."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in _choices(part)]


def _yaml(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "(unset)"
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _given(definition: dict[str, Any], names: Iterable[str]) -> list[dict[str, Any]]:
    """Takes null from what some fields may be; says that one of them is to be given."""
    for name in names:
        field = definition["properties"][name]
        del field["default"]
        field["anyOf"] = [kind for kind in field["anyOf"] if kind != {"type": "null"}]
    return [{"required": [name]} for name in names]


def _either(*schemas: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": list(schemas)}
