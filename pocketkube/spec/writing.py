"""Writes a spec down for others to read: a pipeline's parameter, a worker, a report, a person."""

from collections.abc import Mapping
from typing import Any

import yaml

from pocketkube.spec.settings import Settings
from pocketkube.spec.source import Dumper
from pocketkube.spec.spec import Spec
from pocketkube.spec.stage_settings import StageSettings


def document_of(spec: Spec) -> dict[str, Any]:
    """What a spec file would hold: what differs from the defaults, in its shortest form.

    `parse_spec(document_of(spec)) == spec`, also after the document went through YAML, or through a
    pipeline's JSON, which makes floats of whole numbers.

    Args:
        spec: The job.

    Returns:
        Keys and plain JSON values; null is not among them.
    """
    document = _different(spec)
    document["stages"] = [_short(stage) for stage in spec.stages]
    if "dataset" in document:
        dataset = _unnested(document["dataset"])
        document["dataset"] = dataset["builtin"] if list(dataset) == ["builtin"] else dataset
    if "imports" in document:
        document["imports"] = [
            each if "packed" in each else each["name"] for each in document["imports"]
        ]
    if "task" in document:
        ((name, settings),) = _unnested(document["task"]).items()
        document["task"] = {name: settings} if settings else name
    return document


def settings_document(settings: Settings) -> dict[str, Any]:
    """What differs from the defaults of any settings, as `parse_settings` reads it.

    Args:
        settings: The settings; stages below them bear their names.

    Returns:
        Keys and plain JSON values; null is not among them.
    """
    fields = type(settings).model_fields
    document = {
        name: _plain(value)
        for name, value in settings
        if value != fields[name].get_default(call_default_factory=True)
    }
    # One class may stand for several stages, and tells them apart by their names.
    name = getattr(settings, "name", None)
    return document if name is None else {"name": name} | document


def yaml_of(document: Mapping[str, Any]) -> str:
    """The text of a spec file, as `load_spec` reads it.

    Args:
        document: What `document_of` gives.
    """
    return yaml.dump(
        dict(document), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=float("inf")
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return settings_document(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _unnested(section: Mapping[str, Any]) -> dict[str, Any]:
    """What was added by its name alone."""
    return {key: value for key, value in section.items() if key != "added"} | section.get("added", {})


def _short(stage: StageSettings) -> str | dict[str, Any]:
    settings = _different(stage)
    settings.pop("name", None)
    return {stage.name: settings} if settings else stage.name


def _different(settings: Spec | StageSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_defaults=True)
