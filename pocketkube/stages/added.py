"""The modules of packages from outside whose code a stage runs."""

from collections.abc import Iterator
from typing import Any

from pocketkube.extension import Registry, criteria, datasets, layers, models, stages, tasks
from pocketkube.importing import is_of_text
from pocketkube.spec.sections import (
    DatasetSettings,
    DistillModel,
    Import,
    PruneChannels,
    StageBase,
    TaskSettings,
)
from pocketkube.stages.configs import StageConfig


def added_modules(config: StageConfig) -> tuple[str, ...]:
    """The modules that add what a config names or imports, and those of all layers and tasks.

    A bundle may hold any layer, and is of a task that not every config names. The text that a spec
    gives of a module is in the config itself.
    """
    named = [module for name, value in config.values() for module in _named(name, value)]
    # What these add once they are imported is theirs: before, a config would follow from other code.
    imported = {value.name.split(".")[0] for _, value in config.values() if isinstance(value, Import)}
    everywhere = [each.origin(name).module for each in (layers, tasks) for name in each.names()]
    others = [
        name for name in everywhere if not is_of_text(name) and name.split(".")[0] not in imported
    ]
    return tuple(sorted({*named, *others}))


def _named(name: str, value: Any) -> Iterator[str]:
    if name == "model" and isinstance(value, str):
        yield from _module(models, value)
    elif isinstance(value, Import) and not value.packed:
        yield value.name
    elif isinstance(value, DistillModel):
        yield from _module(models, value.student)
    elif isinstance(value, PruneChannels):
        yield from _module(criteria, value.criterion)
    elif isinstance(value, StageBase):
        yield from _module(stages, value.name)
    elif isinstance(value, DatasetSettings | TaskSettings) and value.added is not None:
        registry = datasets if isinstance(value, DatasetSettings) else tasks
        yield from _module(registry, next(iter(value.added)))


def _module(registry: Registry, name: str) -> Iterator[str]:
    if name in registry.names():
        yield registry.origin(name).module
