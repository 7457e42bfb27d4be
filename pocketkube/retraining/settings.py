"""What a person says of scheduled retraining: retraining.yaml, read as strictly as a spec."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from pocketkube.errors import UserError
from pocketkube.files.whole import place_of
from pocketkube.spec import (
    Spec,
    load_settings,
    load_spec,
    parse_settings,
    parse_spec,
    resolve_paths,
    with_texts,
)
from pocketkube.spec.settings import Place, Settings
from pocketkube.spec.source import Wanted
from pocketkube.stages.outside import read_by_job
from pocketkube.storage import Location, parse_location

FILE = Wanted("a retraining.yaml", "name: digits", "pocketkube retrain --explain")


class Drift(Settings):
    """When new data are other than those that the deployed model knows. It is retrained then."""

    max_score_drop: float = Field(
        0.02,
        ge=0.0,
        description="Most that the deployed model's score may fall: 0.01 is one point of accuracy. It "
        "has to be more than chance explains, too.",
    )
    max_distance: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        description="Most that inputs and outputs may be distributed otherwise (Kolmogorov and "
        "Smirnov's distance, beyond chance), whatever the score is; unset, it is only reported.",
    )
    examples: int = Field(
        2000,
        ge=30,
        description="Training examples of the partition on which this is looked at, at most.",
    )


class Gate(Settings):
    """What a new version may cost beside the deployed one; the bad end of each interval counts."""

    max_score_drop: float = Field(
        0.02, ge=0.0, description="Most that its score may be lower: 0.01 is one point of accuracy."
    )
    max_size_growth: float = Field(
        0.1, ge=0.0, description="Most that its file may be larger: 0.1 is 10 %."
    )
    max_latency_growth: float = Field(0.1, ge=0.0, description="Most that it may be slower, likewise.")


class Retraining(Settings):
    """Scheduled retraining of one model."""

    name: Place = Field(description="What the model is called, here and in a Model Registry.")
    spec: str | dict[str, Any] = Field(
        description="The job that makes a version: a spec's path, or the spec itself. Its dataset says "
        "of which kind partitions are, and what a file in a partition's folder is called."
    )
    partitions: Place = Field(
        description="The folder or s3:// place of the data: each file or folder in it is a partition, "
        "the last by name the newest. A folder counts once it holds _SUCCESS or checksums.json."
    )
    registry: Place = Field(description="The folder or s3:// place of the model's versions.")
    drift: Drift = Field(Drift(), description="When new data make retraining necessary.")
    max_age_days: float | None = Field(
        None, gt=0.0, description="Retrain by a newer partition after so long, whatever the score is."
    )
    replan_drop: float = Field(
        0.1,
        ge=0.0,
        description="The channels are those of the deployed version, unless its score fell by more "
        "than this: then they are chosen anew by the spec's target.",
    )
    gate: Gate = Field(Gate(), description="What a new version has to be to be deployed.")
    model_registry: str = Field(
        "",
        pattern=r"^(https?://[^\s@?#]+)?$",
        description="The URL of a Kubeflow Model Registry, where versions are registered, too.",
    )


@dataclass(frozen=True)
class RetrainingJob:
    """Settings whose spec is read, and whose places are absolute.

    Attributes:
        settings: The settings.
        spec: The job that makes a version.
        partitions: Where the data are.
        registry: Where versions are.
    """

    settings: Retraining
    spec: Spec
    partitions: Location
    registry: Location


def load_retraining(path: Path) -> RetrainingJob:
    """Reads a retraining.yaml; relative paths start from its folder.

    Raises:
        UserError: If it, or the spec that it names, is missing or wrong.
    """
    settings, base = load_settings(Retraining, path, FILE), path.resolve().parent
    if not isinstance(settings.spec, str):
        try:
            settings = settings.model_copy(update={"spec": with_texts(settings.spec, base)})
        except UserError as error:
            raise UserError(f"{path.name}: spec: {error}") from None
    return _job(settings, base)


def parse_retraining(document: Mapping[str, Any]) -> RetrainingJob:
    """Checks settings that arrive as a mapping, as a pipeline's parameters do; its places are absolute.

    Raises:
        UserError: If they are wrong.
    """
    return _job(parse_settings(Retraining, document, "retraining"), Path.cwd())


def read_by_retraining(job: RetrainingJob, file: Path) -> Iterator[tuple[str, str | Path]]:
    """What a run reads: what messages call each, and the path or address.

    Args:
        job: The settings.
        file: Their file.
    """
    yield "the settings", file
    named = job.settings.spec
    yield from read_by_job(
        job.spec, place_of(named, file.resolve().parent) if isinstance(named, str) else file
    )
    yield "partitions", str(job.partitions)
    yield "registry", str(job.registry)


def _refuse_other_data(kind: str) -> None:
    if kind in ("builtin", "added"):
        why = "is no file or folder, as partitions are"
    elif kind == "text":
        why = "trains a tokenizer of its own on each partition, whose tokens no other version knows"
    else:
        return
    raise UserError(
        f"spec: dataset: {kind} {why}; give npz, image_folder, tfrecord, idx, cifar10 or cifar100."
    )


def _job(settings: Retraining, base: Path) -> RetrainingJob:
    if isinstance(settings.spec, str):
        file = place_of(settings.spec, base)
        spec = resolve_paths(load_spec(file), file.resolve().parent)
    else:
        spec = resolve_paths(parse_spec(settings.spec), base)
    _refuse_other_data(spec.dataset.source[0])
    return RetrainingJob(
        settings,
        spec,
        parse_location(settings.partitions, base),
        parse_location(settings.registry, base),
    )
