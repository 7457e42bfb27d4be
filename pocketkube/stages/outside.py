"""The files and folders outside a job that a stage reads: models, students, teachers, data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pocketkube.spec.sections import UNCOMPRESSED, DatasetSettings, Distillation, DistillModel
from pocketkube.stages.configs import StageConfig


def outside_files(config: StageConfig) -> list[Path]:
    """What a config names, in the order of its fields; patterns are followed to the files there are."""
    return [
        place for name in type(config).model_fields for place in _places(name, getattr(config, name))
    ]


def _places(name: str, value: Any) -> Iterator[Path]:
    if name == "model" and value.endswith(".keras"):
        yield Path(value)
    elif isinstance(value, DistillModel) and value.student.endswith(".keras"):
        yield Path(value.student)
    elif isinstance(value, Distillation) and value.teaches:
        yield from (Path(place) for place in value.teachers if place != UNCOMPRESSED)
    elif isinstance(value, DatasetSettings):
        yield from _of_dataset(value)
    elif isinstance(value, tuple):
        for each in value:
            yield from _places(name, each)


def _of_dataset(dataset: DatasetSettings) -> Iterator[Path]:
    kind, where = dataset.source
    if kind == "tfrecord":
        yield from sorted(Path(where).parent.glob(Path(where).name))
    elif kind != "builtin":
        yield Path(where)
