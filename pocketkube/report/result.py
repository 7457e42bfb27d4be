"""The content of a result.json: all figures of a job, before and after."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from pocketkube import __version__
from pocketkube.benchmarking.intervals import Estimate
from pocketkube.benchmarking.machine_load import Load
from pocketkube.benchmarking.processor import CoreKind
from pocketkube.errors import UserError
from pocketkube.facts import SkippedFacts, StageFacts, in_a_line
from pocketkube.files.records import Document, Record, Upgrade, document_of
from pocketkube.graph.bounds import Bound
from pocketkube.measures import task_measure_of, wording_of
from pocketkube.measures.task_facts import TaskFacts
from pocketkube.search.facts import SearchFacts


def _known_score(name: str) -> str:
    try:
        wording_of(name)
    except StopIteration:
        raise ValueError(f"no score of the name {name!r:.60} is known") from None
    return name


def _square(matrix: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    if any(len(row) != len(matrix) for row in matrix):
        raise ValueError("has to have as many columns as rows")
    return matrix


def _above_zero(estimate: Estimate) -> Estimate:
    if not min(estimate.value, estimate.low, estimate.high) > 0:
        raise ValueError("value, low and high have to be greater than 0")
    return estimate


# A report divides by these: no size, time or ratio that was measured is 0.
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Interval = tuple[Positive, Positive]
ScoreName = Annotated[str, AfterValidator(_known_score)]
Confusion = Annotated[tuple[tuple[NonNegativeInt, ...], ...], AfterValidator(_square)]
Ratio = Annotated[Estimate, AfterValidator(_above_zero)]
TargetName = Literal["speedup", "max_size", "max_latency_ms", "max_accuracy_drop"]


class OutputFigures(Record):
    """How right one output of a file is.

    Where the score is minus an error, the error stands beside it by its short name: mae, nme.

    Attributes:
        name: The output's.
        score_name: What machines call the score.
        score: The higher the better.
        confusion: Rows are the true classes, columns the predicted ones, where there are classes.
        also: Further shares that people ask for, by what they are called.
    """

    model_config = ConfigDict(extra="allow")

    name: str
    score_name: ScoreName
    score: float
    confusion: Confusion | None = None
    also: tuple[tuple[str, float], ...] = ()


class LatencyFigures(Record):
    """Percentiles of a run in milliseconds; see `Percentiles`."""

    p50: Positive
    p90: Positive
    p99: Positive
    p50_interval: Interval | None = None


class SideFigures(Record):
    """What was measured of a file, and counted of its model; see `FileFigures` and `ProfileFacts`.

    Where the score is minus an error, the error stands beside it by its short name: mae, nme.

    Attributes:
        model_bytes: What the Keras model takes, where one is packed: packed after, and as it is before.
    """

    model_config = ConfigDict(extra="allow")

    file: str
    format: str
    score: float | None
    heads: tuple[OutputFigures, ...]
    size_bytes: PositiveInt
    gzip_bytes: PositiveInt
    latency_ms: LatencyFigures | None
    threads: dict[str, LatencyFigures]
    latency_samples_ms: tuple[Positive, ...]
    load_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    peak_memory_bytes: int | None
    op_latency_ms: dict[str, float]
    macs: int
    macs_bound: Bound = "exact"
    unknown: tuple[str, ...] = ()
    parameters: int
    model_bytes: int | None = None


class LayerChange(Record):
    """A layer that has weights, before and after.

    Attributes:
        name: Its path.
        kind: Its class.
        folded_into: The layer that has taken it up, where one has.
        channels_before: Its output's channels.
        channels_after: The same, after.
        macs_before: Its multiply-adds.
        macs_after: The same, after.
        parameters_before: The numbers in its weights.
        parameters_after: The same, after.
    """

    name: str
    kind: str
    folded_into: str | None = None
    channels_before: int
    channels_after: int
    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int


class TargetOutcome(Record):
    """A part of the target.

    Attributes:
        name: Its key in the spec.
        asked: What was asked for.
        reached: What came out.
        bound: How sure that is.
        met: Whether it is enough.
        interval: The interval of 95 % confidence of what was measured.
        doubt: Why what came out is not sure to be so on the device; empty where it is.
    """

    name: TargetName
    asked: float
    reached: float
    bound: Bound = "exact"
    met: bool
    interval: tuple[float, float] | None = None
    doubt: str = ""


class NodeFacts(Record):
    """What one of several nodes measured.

    Attributes:
        node: Its name in the cluster.
        cpu: Its processor.
        before_ms: The median latency of the uncompressed model's file there.
        after_ms: That of the compressed one's.
        latency_ratio: How many times faster that is, pair by pair.
        latency_ratio_interval: Its interval of 95 % confidence: from, to.
    """

    node: str
    cpu: str
    before_ms: float
    after_ms: float
    latency_ratio: Positive | None
    latency_ratio_interval: Interval | None


class MachineFacts(Record):
    """The machine that measured, and its software; see `Environment`."""

    cpu: str
    cpu_features: tuple[str, ...]
    cores: int
    machine: str
    emulated_on: str | None = None
    python: str
    packages: dict[str, str]
    when: str
    core_kinds: tuple[CoreKind, ...] = ()
    node: str | None = None


class Result(Document):
    """The content of a result.json.

    Attributes:
        pocketkube: The version that wrote it.
        command: How a person started the job; None where a runner did.
        spec: What the spec file would hold.
        seed: Everything random follows from it.
        task: What the models were trained for.
        before: The uncompressed model's file.
        after: The compressed one's.
        speedup: How many times fewer multiply-adds there are after.
        speedup_bound: How sure that is.
        latency_ratio: See `BenchmarkReport`, as the four below.
        agreement: How far the file does what its model does; None where it was not compared.
        stages: What was done, each stage after its parents; the writing of the file is the last one.
        warnings: What may have gone wrong, a sentence each.
        layers: Layers that have weights, side by side.
        environment: The machine.
        targets: Each part of the target.
        nodes: What each node measured, where several did; see `merge_reports`.
        search: What was searched for, where there was a search.
        skipped: What was left out of the data set; None where nothing was.
    """

    schema_version: int = 2
    pocketkube: str = __version__
    command: str | None = None
    spec: dict[str, Any]
    seed: int
    task: TaskFacts
    before: SideFigures
    after: SideFigures
    speedup: Positive
    speedup_bound: Bound = "exact"
    latency_ratio: Positive | None
    latency_ratio_interval: Interval | None = None
    latency_ratios: dict[str, Ratio] = Field(default_factory=dict)
    reference_threads: int = 1
    load: Load
    agreement: float | None
    stages: tuple[StageFacts, ...]
    warnings: tuple[str, ...] = ()
    layers: tuple[LayerChange, ...]
    environment: MachineFacts
    targets: tuple[TargetOutcome, ...] = ()
    nodes: tuple[NodeFacts, ...] = ()
    search: SearchFacts | None = None
    skipped: SkippedFacts | None = None

    upgrades: ClassVar[tuple[Upgrade, ...]] = (
        lambda content: content | {"stages": in_a_line(content["stages"])},
    )

    @field_validator("spec")
    @classmethod
    def _names_a_model(cls, spec: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(spec.get("model"), str):
            raise ValueError("model has to be a network's name or a file")
        return spec

    @field_validator("task")
    @classmethod
    def _is_known(cls, task: TaskFacts) -> TaskFacts:
        _known_score(task.score_name)
        try:
            task_measure_of(task)
        except KeyError as error:
            raise ValueError(f"heads: no task of the kind {error} is known") from None
        return task

    @field_validator("search")
    @classmethod
    def _has_a_known_score(cls, search: SearchFacts | None) -> SearchFacts | None:
        if search is not None:
            _known_score(search.score_name)
        return search

    @model_validator(mode="after")
    def _sides_are_alike(self) -> Self:
        for what, of in _ALIKE.items():
            before, after = of(self.before), of(self.after)
            if before != after:
                raise ValueError(f"before and after differ in their {what}: {before} and {after}")
        return self


# What is shown side by side has to be on both sides.
_ALIKE: dict[str, Callable[[SideFigures], Any]] = {
    "threads": lambda side: sorted(side.threads),
    "heads": lambda side: len(side.heads),
    "further shares": lambda side: [len(head.also) for head in side.heads],
}


def load_result(file: Path) -> Result:
    """Reads a result.json.

    Raises:
        UserError: If it is none, is damaged, or is newer than this program.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no {file}; pocketkube run writes it.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no JSON: {error}") from None
    return document_of(Result, content, str(file))
