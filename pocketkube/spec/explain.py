"""Tells what may stand in a spec: a listing for people, a JSON Schema for editors."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from pocketkube.extension import datasets, tasks
from pocketkube.extension import stages as added
from pocketkube.spec.fields import DescribedField, choices_of, described_fields
from pocketkube.spec.problems import stage_model
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
    builtins = choices_of(DatasetSettings.model_fields["builtin"].annotation)
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
    for field in described_fields(model):
        if model is Spec and field.name == "stages":
            yield from _stages(field, indent)
            continue
        if field.name == "name" and indent:
            continue
        yield from _described(field, indent, nested=bool(field.parts))
        for part in field.parts:
            yield from _fields(part, indent + "  ")


def _stages(field: DescribedField, indent: str) -> Iterator[str]:
    yield from _described(field, indent, nested=True)
    for name in STAGE_NAMES:
        model = stage_model(name)
        yield f"{indent}  - {name}:"
        yield from _wrapped((model.__doc__ or "").strip().splitlines()[0], indent + "      ")
        yield from _fields(model, indent + "      ")


def _described(field: DescribedField, indent: str, nested: bool) -> Iterator[str]:
    if nested:
        yield f"{indent}{field.name}:{'' if field.is_required else '  # may be left out'}"
    else:
        allowed = f"  # {field.allowed}" if field.allowed else ""
        yield f"{indent}{field.name}: {field.default}{allowed}"
    yield from _wrapped(field.meaning, indent + "  ")


def _wrapped(text: str, indent: str) -> Iterator[str]:
    lead = f"{indent}# "
    yield from textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=lead)


def _given(definition: dict[str, Any], names: Iterable[str]) -> list[dict[str, Any]]:
    """Takes null from what some fields may be; says that one of them is to be given."""
    for name in names:
        field = definition["properties"][name]
        del field["default"]
        field["anyOf"] = [kind for kind in field["anyOf"] if kind != {"type": "null"}]
    return [{"required": [name]} for name in names]


def _either(*schemas: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": list(schemas)}
