"""The benchmark: all that is measured of some LiteRT files, in one call."""

import gzip
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from pocketkube.benchmarking.environment import doubts, environment
from pocketkube.benchmarking.latency import Times, measure_latencies, shared_inputs
from pocketkube.benchmarking.memory import measure_loading
from pocketkube.benchmarking.number_format import number_format
from pocketkube.benchmarking.results import BenchmarkReport, FileFigures, Percentiles, percentiles
from pocketkube.benchmarking.samples import Samples, load_samples
from pocketkube.benchmarking.score import Score, score_file
from pocketkube.console.progress import progress
from pocketkube.errors import UserError
from pocketkube.litert.running import LiteRTModel
from pocketkube.native.litert_in_child import prove
from pocketkube.spec.sections import Benchmark


def benchmark(
    files: Sequence[Path], settings: Benchmark, samples: Path | Samples | None = None
) -> BenchmarkReport:
    """Measures LiteRT files against each other on this machine.

    Latency is of one example a run, with XNNPACK, the files in turn in one process, until its ratio
    is known to `settings.precision`; load time and peak memory are of fresh processes; the score is
    of all examples through the interpreter. Time by operation is left empty: the runtime's Python
    interface has no profiler.

    Args:
        files: One .tflite file or more, as a rule the baseline first and the result last.
        settings: Number of runs, how precise the ratio is to be, and the thread counts.
        samples: Test examples, or an .npz of such, see `load_samples`; without any
            latency is measured on random numbers and there is no score.

    Returns:
        The figures, in the order of the files.

    Raises:
        UserError: If a file is missing or damaged, or examples do not fit it.
    """
    if not files:
        raise UserError("There is nothing to measure: give one .tflite file or more.")
    examples = load_samples(samples) if isinstance(samples, Path) else samples
    # All are tried before anything is measured, so that a wrong file is told at once.
    for file in files:
        if examples:
            prove(file, max(settings.threads), examples.inputs, examples.origin)
        else:
            prove(file, max(settings.threads))
    opened = [LiteRTModel(file, max(settings.threads)) for file in files]
    shapes = [(1, *array.shape[1:]) for array in shared_inputs(opened, examples)]
    scores = _scores(opened, examples)
    del opened
    reference = 1 if 1 in settings.threads else settings.threads[0]
    loading = measure_loading(files, reference, shapes)
    latencies = measure_latencies(files, settings, examples)
    times = latencies.threads
    figures = tuple(
        FileFigures(
            file=name,
            format=number_format(file),
            score=score.judged.score if score else None,
            heads=score.judged.heads if score else (),
            size_bytes=file.stat().st_size,
            gzip_bytes=len(gzip.compress(file.read_bytes(), mtime=0)),
            latency_ms=_percentiles(times[reference], place),
            threads={str(threads): _percentiles(each, place) for threads, each in times.items()},
            latency_samples_ms=times[reference].runs_ms[place],
            load_ms=load.load_ms,
            peak_memory_bytes=load.peak_memory_bytes,
            op_latency_ms={},
        )
        for place, (name, file, score, load) in enumerate(
            zip(_names(files), files, scores, loading, strict=True)
        )
    )
    ratio, here = times[reference].ratio, environment()
    warnings = (*doubts(here), *latencies.load.warnings)
    return BenchmarkReport(
        files=figures,
        latency_ratio=ratio.value if ratio else None,
        latency_ratio_interval=(ratio.low, ratio.high) if ratio else None,
        latency_ratios={str(threads): each.ratio for threads, each in times.items() if each.ratio},
        load=replace(latencies.load, warnings=warnings),
        reference_threads=reference,
        score_name=_score_name(scores[0]),
        examples=len(examples.inputs[0]) if examples else 0,
        environment=here,
    )


def _percentiles(times: Times, place: int) -> Percentiles:
    return percentiles(times.runs_ms[place], times.medians_ms[place])


def _score_name(score: Score | None) -> str | None:
    return None if score is None or score.judged.score is None else score.wording.score_name


def _scores(models: Sequence[LiteRTModel], examples: Samples | None) -> list[Score | None]:
    if examples is None or not examples.labels:
        return [None for _ in models]
    scores: list[Score | None] = []
    steps = count(1)
    total = len(models) * len(examples.inputs[0])
    with progress("score", total, "example") as shown:
        for model in models:
            scores.append(score_file(model, examples, lambda: shown.update(next(steps))))
    return scores


def _names(files: Sequence[Path]) -> list[str]:
    names = [file.name for file in files]
    return names if len(set(names)) == len(names) else [str(file) for file in files]
