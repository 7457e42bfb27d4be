"""Where what a stage reads from outside a job is: models, students, teachers, data, latency tables."""

from collections.abc import Iterator
from typing import Any

from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections import (
    UNCOMPRESSED,
    DatasetSettings,
    Distillation,
    DistillModel,
    Target,
)
from pocketkube.stages.configs import StageConfig
from pocketkube.storage import Location, parse_location


def outside_locations(config: StageConfig) -> list[Location]:
    """What a config names, in the order of its fields."""
    return [parse_location(text) for _, text in named_outside(config)]


def named_outside(config: StageConfig) -> Iterator[tuple[str, str]]:
    """What a config names: where in a spec, and the path or address."""
    for name, value in config.values():
        yield from _named(name, value)


def _named(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if name == "model" and is_model_file(value):
        yield name, value
    elif isinstance(value, DistillModel) and is_model_file(value.student):
        yield f"stages.{value.name}.student", value.student
    elif isinstance(value, Distillation) and value.teaches:
        for teacher in value.teachers:
            if teacher != UNCOMPRESSED:
                yield f"{name}.teachers", teacher
    elif isinstance(value, Target) and value.latency_table:
        yield f"{name}.latency_table", value.latency_table
    elif isinstance(value, DatasetSettings):
        kind, where = value.source
        if value.added is not None:
            for settings in value.added.values():
                for text in settings.reads():
                    yield name, text
        elif kind != "builtin":
            yield name, where
