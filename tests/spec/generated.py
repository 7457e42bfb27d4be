"""Specs at random: every field that the schema has, within its bounds, for property tests."""

import types
from contextlib import suppress
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import assume
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pocketkube.spec.problems import stage_model
from pocketkube.spec.sections import SOURCES, DatasetSettings, Landmarks, TaskSettings
from pocketkube.spec.sections.target import Target
from pocketkube.spec.sections.task import TASKS
from pocketkube.spec.settings import LARGEST_WHOLE
from pocketkube.spec.spec import Spec

# What a reader of YAML takes for something else than the text it is.
TRAPS = [
    "1e3",
    "null",
    "~",
    "yes",
    "0x10",
    "1_000",
    "010",
    "08",
    "1:30",
    "2026-01-01",
    "- a",
    "a: b",
    "#",
    "<<",
    "=",
    "é😀",
    "a\x85b",
    "a\u2028",
]
TEXT = st.sampled_from(TRAPS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
)
# Settings of data that only some sources have.
ALWAYS_UNFIT = ("on_bad_example", "central_crop", "first_label")
UNFIT = {"image_folder": ("first_label",), "tfrecord": (), "added": ("central_crop", "first_label")}
# No stage undoes what another did.
ORDERS = [
    ["distill_model", "prune_channels", "fine_tune", "sparsify_weights", "cluster_weights"],
    ["prune_channels", "sparsify_weights", "fine_tune", "quantize_weights"],
    ["prune_channels", "fine_tune", "quantize_int8"],
    ["sparsify_weights", "quantize_float16"],
    ["fine_tune", "quantize_dynamic"],
]


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """A spec with any of its fields given."""
    names = draw(st.sampled_from(ORDERS))
    given = {
        "stages": tuple(draw(settings_of(stage_model(name), name=name)) for name in names),
        "dataset": draw(settings_of(DatasetSettings)),
    }
    if any(stage.name == "prune_channels" and not stage.ratios for stage in given["stages"]):
        given["target"] = draw(st.builds(Target, speedup=st.floats(1.5, 9)))
    fields = {name: field for name, field in Spec.model_fields.items() if name not in given}
    spec = _allowed(draw, Spec, given, fields)
    # There may be no data, and stages that need some.
    assume(isinstance(spec, Spec))
    return spec


def settings_of(model: type[BaseModel], **fixed: Any) -> st.SearchStrategy[BaseModel]:
    """Settings of a model that are allowed."""

    @st.composite
    def build(draw: st.DrawFn) -> BaseModel | None:
        fields = {name: field for name, field in model.model_fields.items() if name not in fixed}
        given = {}
        if model is DatasetSettings:
            source = draw(st.sampled_from(SOURCES))
            others = {*SOURCES, *UNFIT.get(source, ALWAYS_UNFIT)}
            fields = {name: field for name, field in fields.items() if name not in others}
            given = {source: draw(_present(model, source))}
        elif model is TaskSettings:
            task = draw(st.sampled_from(TASKS))
            given, fields = {task: draw(_present(model, task))}, {}
        fields = {name: field for name, field in fields.items() if name not in given}
        return _allowed(draw, model, fixed | given, fields)

    return build().filter(lambda settings: settings is not None)


def _allowed(
    draw: st.DrawFn, model: type[BaseModel], given: dict[str, Any], fields: dict[str, FieldInfo]
) -> BaseModel | None:
    """Most of the fields, but for those that contradict others; None where too few are given."""
    given = given | {n: draw(_of_field(each)) for n, each in fields.items() if each.is_required()}
    left = {name: each for name, each in fields.items() if not each.is_required()}
    more = {n: draw(_of_field(each)) for n, each in left.items() if draw(st.sampled_from([1, 0, 1]))}
    found = _valid(model, given)
    # Some only go with one that follows.
    for name, value in [*more.items(), *more.items()]:
        better = None if name in given else _valid(model, given | {name: value})
        if better is not None:
            found, given = better, given | {name: value}
    return found


def _valid(model: type[BaseModel], given: dict[str, Any]) -> BaseModel | None:
    with suppress(ValidationError):
        return model.model_validate(given, strict=True)
    return None


def _present(model: type[BaseModel], name: str) -> st.SearchStrategy[Any]:
    """A field that may be left out, and is not."""
    field = model.model_fields[name]
    parts = [part for part in get_args(field.annotation) if part is not types.NoneType]
    return st.one_of(_of(part, field.metadata) for part in parts)


def _of_field(field: FieldInfo) -> st.SearchStrategy[Any]:
    if field is Landmarks.model_fields["normalize_by"]:
        return st.sampled_from(["box_size", "box_diagonal", (36, 45), (0, 2)])
    return _of(field.annotation, field.metadata)


def _of(annotation: Any, rules: list[Any]) -> st.SearchStrategy[Any]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [rule for extra in parts[1:] for rule in getattr(extra, "metadata", [extra])]
        return _of(parts[0], rules + inner)
    if origin in (Union, types.UnionType):
        return st.one_of(_of(part, rules) for part in parts)
    if origin is Literal:
        return st.sampled_from(parts)
    if origin is tuple and parts[-1] is Ellipsis:
        return st.lists(_of(parts[0], []), min_size=_bound(rules, "min_length", 0), max_size=3).map(
            tuple
        )
    if origin is tuple:
        return st.tuples(*(_of(part, []) for part in parts))
    if origin is dict:
        return st.dictionaries(TEXT, _of(parts[1], []), max_size=3)
    if annotation is type(None):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return settings_of(annotation)
    return PLAIN[annotation](rules)


def _whole(rules: list[Any]) -> st.SearchStrategy[int]:
    low = max(_bound(rules, "ge", -LARGEST_WHOLE), _bound(rules, "gt", -LARGEST_WHOLE - 1) + 1)
    return st.integers(low, _bound(rules, "le", LARGEST_WHOLE))


def _real(rules: list[Any]) -> st.SearchStrategy[float]:
    low, high = _bound(rules, "ge", None), _bound(rules, "le", None)
    above, below = _bound(rules, "gt", None), _bound(rules, "lt", None)
    return st.floats(
        low if above is None else above,
        high if below is None else below,
        exclude_min=above is not None,
        exclude_max=below is not None,
        allow_nan=False,
        allow_infinity=False,
    )


def _text(rules: list[Any]) -> st.SearchStrategy[str]:
    pattern = _bound(rules, "pattern", None)
    # For Python a $ stands before a last line break, too.
    return TEXT if pattern is None else st.from_regex(f"{pattern.removesuffix('$')}\\Z")


def _bound(rules: list[Any], name: str, otherwise: Any) -> Any:
    found = [getattr(rule, name) for rule in rules if getattr(rule, name, None) is not None]
    return found[0] if found else otherwise


PLAIN = {
    int: _whole,
    float: _real,
    bool: lambda rules: st.booleans(),
    str: _text,
    # What a part of the spec leaves to Kubernetes to understand.
    Any: lambda rules: st.one_of(TEXT, st.dictionaries(TEXT, TEXT, max_size=2)),
}
