"""Where what a stage reads from outside a job is: models, students, teachers, data, latency tables."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pocketkube.errors import UserError
from pocketkube.models.names import check_name
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections import (
    UNCOMPRESSED,
    DatasetSettings,
    Distillation,
    DistillModel,
    Target,
)
from pocketkube.spec.sections.dataset import IDX_HINT
from pocketkube.spec.spec import Spec
from pocketkube.stages.configs import BuildReportConfig, StageConfig
from pocketkube.storage import ABSENT, Location, is_uri, parse_location
from pocketkube.storage.location import LocalLocation


def outside_locations(config: StageConfig) -> list[Location]:
    """What a config names, in the order of its fields."""
    return [parse_location(text) for _, text in named_outside(config)]


def named_outside(config: StageConfig) -> Iterator[tuple[str, str]]:
    """What a config names: where in a spec, and the path or address."""
    for name, value in config.values():
        yield from _named(name, value)


def read_by_job(spec: Spec, file: Path) -> Iterator[tuple[str, str | Path]]:
    """What a job reads from outside: what its spec calls each, and the path or address.

    Args:
        spec: The job, its paths absolute.
        file: The spec's file.
    """
    yield "the spec", file
    yield from named_outside(BuildReportConfig.of(spec))


def refuse_unknown_networks(spec: Spec, called: Callable[[str], str] = str) -> None:
    """Says which network of a job is neither built in, nor added, nor a file; loads none.

    Modules that the spec imports may add what is not known yet: where there are any, the job itself
    finds out.

    Args:
        spec: The job, its paths absolute.
        called: What messages call a key of it.

    Raises:
        UserError: If there is no such network.
    """
    for key, network in _networks_by_name(spec):
        try:
            if is_uri(network):
                raise UserError(f"{network} is no .keras, .h5 or .hdf5 file; save the network as one")
            if not spec.imports:
                check_name(network)
        except UserError as error:
            raise error.saying(f"{called(key)}: {error}") from error


def _networks_by_name(spec: Spec) -> Iterator[tuple[str, str]]:
    """The networks that are no files: where the spec names each, and its name."""
    if not is_model_file(spec.model):
        yield "model", spec.model
    for stage in spec.stages:
        if isinstance(stage, DistillModel) and not is_model_file(stage.student):
            yield f"stages.{stage.name}.student", stage.student


def refuse_missing(spec: Spec) -> None:
    """Says which of a job's networks and files on this machine are not there.

    A server's files are asked for later on.

    Args:
        spec: The job, its paths absolute.

    Raises:
        UserError: If any is missing.
    """
    refuse_unknown_networks(spec)
    for where, text in named_outside(BuildReportConfig.of(spec)):
        location = parse_location(text)
        if isinstance(location, LocalLocation) and not (location.path.exists() or location.matches()):
            kind = "model file" if where == "model" else "file or folder"
            hint = f" {IDX_HINT}" if text == spec.dataset.idx else ""
            raise UserError(f"{where}: There is no {kind} {text}.{hint}")


def refuse_missing_elsewhere(spec: Spec) -> None:
    """Says which of a job's addresses hold nothing.

    Raises:
        UserError: If any does, or a server is away or refuses.
    """
    for where, text in named_outside(BuildReportConfig.of(spec)):
        if is_uri(text):
            stamp_of(where, text)


def stamp_of(name: str, text: str) -> str:
    """What changes where what a spec names does.

    Args:
        name: What messages call it.
        text: Its path or address.

    Raises:
        UserError: If nothing is there, or a server is away or refuses.
    """
    try:
        stamp = parse_location(text).stamp()
    except UserError as error:
        raise error.saying(f"{name}: {error}") from error
    if stamp == ABSENT:
        held = "" if is_uri(text) else " in the image; give an s3:// address"
        raise UserError(f"{name}: there is no {text}{held}")
    return stamp


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
