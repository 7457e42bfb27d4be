"""Where what a stage reads from outside a job is: models, students, teachers, data, latency tables."""

from collections.abc import Iterator
from typing import Any

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
    return [parse_location(text) for name, value in config.values() for text in _named(name, value)]


def _named(name: str, value: Any) -> Iterator[str]:
    if name == "model" and value.endswith(".keras"):
        yield value
    elif isinstance(value, DistillModel) and value.student.endswith(".keras"):
        yield value.student
    elif isinstance(value, Distillation) and value.teaches:
        yield from (teacher for teacher in value.teachers if teacher != UNCOMPRESSED)
    elif isinstance(value, Target) and value.latency_table:
        yield value.latency_table
    elif isinstance(value, DatasetSettings):
        kind, where = value.source
        if value.added is not None:
            yield from (text for settings in value.added.values() for text in settings.reads())
        elif kind != "builtin":
            yield where
