"""The figures of a benchmark. `dataclasses.asdict` makes them JSON's plain dicts and numbers."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pocketkube.benchmarking.environment import Environment
from pocketkube.benchmarking.intervals import Estimate
from pocketkube.benchmarking.machine_load import Load
from pocketkube.errors import UserError
from pocketkube.files.records import Document, Upgrade, document_of
from pocketkube.measures import HeadScore


@dataclass(frozen=True)
class Percentiles:
    """What half, nine tenths and 99 in a hundred of the runs stayed within, in milliseconds.

    Attributes:
        p50: The median.
        p90: What 9 in 10 runs stayed within.
        p99: What 99 in 100 did.
        p50_interval: The median's interval of 95 % confidence: from, to.
    """

    p50: float
    p90: float
    p99: float
    p50_interval: tuple[float, float]


@dataclass(frozen=True)
class FileFigures:
    """What was measured of one file.

    Attributes:
        file: The file's name; its path where two files bear the same name.
        format: "float32", "float16", "dynamic", "int8", "int16" or "uint8"; see `number_format`.
        score: Accuracy, or minus an error, over all test examples; the mean over the outputs. None
            without examples, and where outputs are scored in different units.
        heads: The score of each output by itself.
        size_bytes: Size of the file.
        gzip_bytes: Size after gzip, as an app's download is compressed: zeros and repeated weights
            count for little there even where the file holds them.
        latency_ms: Percentiles of a run, with the report's `reference_threads`.
        threads: The same by number of threads, which is a string as JSON's keys are.
        latency_samples_ms: Each single run that `latency_ms` is of, in their order.
        load_ms: Time to open the file and plan its memory, in a fresh process; median of a few.
        peak_memory_bytes: How far a fresh process's resident memory rises over that of the loaded
            runtime while it loads and runs the file; median of a few.
        op_latency_ms: Time by operation; empty where the runtime does not tell.
    """

    file: str
    format: str
    score: float | None
    heads: tuple[HeadScore, ...]
    size_bytes: int
    gzip_bytes: int
    latency_ms: Percentiles
    threads: dict[str, Percentiles]
    latency_samples_ms: tuple[float, ...]
    load_ms: float
    peak_memory_bytes: int
    op_latency_ms: dict[str, float]


@dataclass(frozen=True)
class BenchmarkReport:
    """What was measured of all files, on what.

    Attributes:
        files: One entry for each file, in the order given.
        latency_ratio: Latency of the first file over that of the last: the median of the ratios pair
            by pair, from runs taken in turn, with `reference_threads`; None for a single file.
        latency_ratio_interval: Its interval of 95 % confidence: from, to.
        latency_ratios: The ratio and its interval by number of threads; empty for a single file.
        load: What the machine did while latency was measured, with reasons for distrust.
        reference_threads: The number of threads of `latency_ms`, load time and memory: one where
            that is measured.
        score_name: "accuracy", "negative_mae" or "negative_nme"; None where there is no score.
        examples: Number of test examples behind the score.
        environment: The device and its software.
        nodes: Where several nodes measured, what each of them did, of which this is merged; see
            `merge_reports`.
    """

    files: tuple[FileFigures, ...]
    latency_ratio: float | None
    latency_ratio_interval: tuple[float, float] | None
    latency_ratios: dict[str, Estimate]
    load: Load
    reference_threads: int
    score_name: str | None
    examples: int
    environment: Environment
    nodes: tuple["BenchmarkReport", ...] = ()


def benchmark_document(report: BenchmarkReport) -> dict[str, Any]:
    """The figures as a JSON file holds them, for `load_benchmark`."""
    return {"schema_version": len(_Stored.upgrades) + 1, **asdict(report)}


def load_benchmark(file: Path) -> BenchmarkReport:
    """Reads what `benchmark_document` gave.

    Raises:
        UserError: If the file is missing, damaged or newer than this program.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} holds no benchmark: {error}") from error
    version = content.get("schema_version", 1) if isinstance(content, dict) else 1
    stored = {"schema_version": version, "report": content}
    return document_of(_Stored, stored, str(file)).report


class _Stored(Document):
    """A benchmark.json. Version 1 had the same figures, and no version."""

    schema_version: int = 2
    report: BenchmarkReport
    upgrades: ClassVar[tuple[Upgrade, ...]] = (lambda content: content,)


def percentiles(samples_ms: Sequence[float], median: Estimate) -> Percentiles:
    """The three percentiles of some runs, in milliseconds, with the median's interval."""
    p90, p99 = (float(value) for value in np.percentile(samples_ms, (90, 99)))
    return Percentiles(median.value, p90, p99, (median.low, median.high))
