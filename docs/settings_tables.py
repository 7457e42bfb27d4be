"""Tables of settings in Markdown, from the models that read them."""

from collections.abc import Iterator

from pydantic import BaseModel

from docs.markdown import cell, code, table
from pocketkube.retraining.settings import Retraining
from pocketkube.spec import Spec
from pocketkube.spec.fields import NEEDED, UNSET, DescribedField, described_fields
from pocketkube.spec.problems import stage_model
from pocketkube.spec.sections import StageBase
from pocketkube.spec.stage_settings import STAGE_NAMES

_HEAD = ("setting", "default", "allowed", "meaning")
_LONGEST = 30
# Its stages have tables of their own.
_STAGES = "stages"


def settings_table(name: str) -> str:
    """The settings of a stage, or of a section of a spec.

    Args:
        name: A stage's name, or a section's key.
    """
    if name in STAGE_NAMES:
        return _tables_of(stage_model(name), name)
    (field,) = (each for each in described_fields(Spec) if each.name == name)
    (settings,) = field.parts
    return _tables_of(settings, name)


def reference_of_spec() -> str:
    """All sections of a spec and all stages, a heading each."""
    fields = described_fields(Spec)
    plain = [field for field in fields if not field.parts]
    lines = ["## Top-level keys", "", table(_HEAD, map(_row, plain)), ""]
    for field in fields:
        if field.name == _STAGES:
            lines += [f"## {field.name}", "", field.meaning, ""]
            for name in STAGE_NAMES:
                about = (stage_model(name).__doc__ or "").strip().splitlines()[0]
                lines += [f"### {name}", "", about, "", settings_table(name), ""]
        elif field.parts:
            lines += [f"## {field.name}", "", field.meaning, "", settings_table(field.name), ""]
    return "\n".join(lines).rstrip() + "\n"


def reference_of_retraining() -> str:
    """All settings of scheduled retraining."""
    return _tables_of(Retraining, "")


def _tables_of(settings: type[BaseModel], name: str) -> str:
    """One table; where that would be long, one for each part, under a heading of its own."""
    rows = list(_rows(settings, ""))
    if len(rows) <= _LONGEST:
        return table(_HEAD, rows) + "\n"
    fields = described_fields(settings)
    lines = [table(_HEAD, (_row(field) for field in fields if not field.parts)), ""]
    for field in fields:
        for part in field.parts:
            lines += [f"### {name}.{field.name}", "", cell(field.meaning), ""]
            lines += [table(_HEAD, _rows(part, "")), ""]
    return "\n".join(lines)


def _rows(settings: type[BaseModel], before: str) -> Iterator[tuple[str, ...]]:
    """A row for each setting; those of a part of it follow it, named `part.setting`."""
    for field in described_fields(settings):
        # Which stage settings are of, is its key in a file.
        if field.name == "name" and issubclass(settings, StageBase):
            continue
        if not field.parts:
            yield _row(field, before)
            continue
        yield code(before + field.name), "", "a section", cell(field.meaning)
        for part in field.parts:
            yield from _rows(part, f"{before}{field.name}.")


def _row(field: DescribedField, before: str = "") -> tuple[str, ...]:
    default = {NEEDED: "needed", UNSET: "unset"}.get(field.default) or code(field.default)
    return code(before + field.name), default, cell(field.allowed), cell(field.meaning)
