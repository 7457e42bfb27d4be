"""What a field of settings says of itself: its default, what it may be, what belongs to it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pocketkube.spec.added import Choice
from pocketkube.spec.problems import models_in
from pocketkube.spec.spec import Spec

NEEDED, UNSET = "(needed)", "(unset)"


@dataclass(frozen=True)
class DescribedField:
    """A field as people read of it.

    Attributes:
        name: Its key in a file.
        default: Its default as YAML; `NEEDED` or `UNSET` where there is none, or where it is a section.
        allowed: What it may be: bounds or choices; empty where its type says all.
        meaning: A sentence or two.
        is_required: Whether it has to be given.
        parts: The settings that belong to it, where it is a section.
    """

    name: str
    default: str
    allowed: str
    meaning: str
    is_required: bool
    parts: tuple[type[BaseModel], ...]


def described_fields(settings: type[BaseModel]) -> list[DescribedField]:
    """The fields of settings, in the order in which they stand there.

    Args:
        settings: A spec, one of its sections, or other settings.
    """
    return [_described(settings, name, field) for name, field in settings.model_fields.items()]


def choices_of(annotation: Any) -> list[Any]:
    """The values of a Literal, also inside a union with None."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in choices_of(part)]


def _described(settings: type[BaseModel], name: str, field: FieldInfo) -> DescribedField:
    # People name modules; how one is handed on is for machines.
    parts = [] if (settings, name) == (Spec, "imports") else models_in(field.annotation)
    unset = NEEDED if field.is_required() else UNSET
    return DescribedField(
        name,
        unset if parts or field.is_required() else _yaml(field.get_default()),
        _allowed(field),
        field.description or "",
        field.is_required(),
        tuple(parts),
    )


def _allowed(field: FieldInfo) -> str:
    builtin = [name for rule in field.metadata if isinstance(rule, Choice) for name in rule.builtin]
    choices = ", ".join(map(str, [*choices_of(field.annotation), *builtin]))
    limits = ", ".join(_limits(field))
    if choices and limits:
        return f"{limits}, or {choices}"
    return f"one of: {choices}" if choices else limits


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


def _yaml(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return UNSET
    return json.dumps(list(value) if isinstance(value, tuple) else value)
