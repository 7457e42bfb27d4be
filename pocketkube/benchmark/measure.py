"""The benchmark: all that is measured of some LiteRT files, in one call."""

import gzip
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np

from pocketkube.benchmark.environment import environment
from pocketkube.benchmark.memory import measure_loading
from pocketkube.benchmark.number_format import number_format
from pocketkube.benchmark.results import BenchmarkReport, FileFigures, percentiles
from pocketkube.benchmark.samples import Samples, load_samples, random_samples
from pocketkube.benchmark.score import Score, score_file
from pocketkube.benchmark.timing import interleaved_latencies_ms
from pocketkube.errors import UserError
from pocketkube.litert import LiteRTModel
from pocketkube.progress import progress
from pocketkube.spec.schema import Benchmark


def benchmark(
    files: Sequence[Path], settings: Benchmark, samples: Path | None = None
) -> BenchmarkReport:
    """Measures LiteRT files against each other on this machine.

    Latency is of one example a run, with XNNPACK, the files in turn in one process; load time and
    peak memory are of fresh processes; the score is of all examples through the interpreter. Time by
    operation is left empty: the runtime's Python interface has no profiler.

    Args:
        files: One .tflite file or more, as a rule the baseline first and the result last.
        settings: Number of runs, and the thread counts.
        samples: An .npz of test examples, see `load_samples`; without one latency is measured on
            random numbers and there is no score.

    Returns:
        The figures, in the order of the files.

    Raises:
        UserError: If a file is missing or damaged, or examples do not fit it.
    """
    if not files:
        raise UserError("There is nothing to measure: give one .tflite file or more.")
    # All are opened before anything is measured, so that a wrong path is told at once.
    opened = [LiteRTModel(file, max(settings.threads)) for file in files]
    examples = load_samples(samples) if samples else None
    for model in opened:
        _check_inputs(model, examples)
    scores = _scores(opened, examples)
    del opened
    reference = 1 if 1 in settings.threads else settings.threads[0]
    loading = measure_loading(files, reference)
    latencies = {
        threads: _latencies(files, settings, threads, examples)
        for threads in dict.fromkeys(settings.threads)
    }
    figures = tuple(
        FileFigures(
            file=name,
            format=number_format(file),
            score=score.judged.score if score else None,
            heads=score.judged.heads if score else (),
            size_bytes=file.stat().st_size,
            gzip_bytes=len(gzip.compress(file.read_bytes(), mtime=0)),
            latency_ms=percentiles(latencies[reference][place]),
            threads={str(threads): percentiles(each[place]) for threads, each in latencies.items()},
            latency_samples_ms=latencies[reference][place],
            load_ms=load.load_ms,
            peak_memory_bytes=load.peak_memory_bytes,
            op_latency_ms={},
        )
        for place, (name, file, score, load) in enumerate(
            zip(_names(files), files, scores, loading, strict=True)
        )
    )
    first, last = latencies[reference][0], latencies[reference][-1]
    return BenchmarkReport(
        files=figures,
        latency_ratio=median(first) / median(last) if len(files) > 1 else None,
        reference_threads=reference,
        score_name=_score_name(scores[0]),
        examples=len(examples.inputs[0]) if examples else 0,
        environment=environment(),
    )


def _score_name(score: Score | None) -> str | None:
    return None if score is None or score.judged.score is None else score.wording.score_name


def _check_inputs(model: LiteRTModel, examples: Samples | None) -> None:
    if examples:
        model.fit_inputs(examples.inputs, examples.origin)


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


def _latencies(
    files: Sequence[Path], settings: Benchmark, threads: int, examples: Samples | None
) -> tuple[tuple[float, ...], ...]:
    models = [LiteRTModel(file, threads) for file in files]
    inputs = _shared_inputs(models, examples)
    for model in models:
        _check_inputs(model, examples)
    steps = count(1)
    total = settings.warmup_runs + settings.runs
    stage = f"latency, {threads} thread{'s' if threads > 1 else ''}"
    with progress(stage, total, "round") as shown:
        return interleaved_latencies_ms(
            models, inputs, settings.runs, settings.warmup_runs, lambda: shown.update(next(steps))
        )


def _shared_inputs(models: Sequence[LiteRTModel], examples: Samples | None) -> tuple[np.ndarray, ...]:
    """The same examples for all files, so that none has the easier ones."""
    if examples:
        return examples.inputs
    first = models[0]
    made_up = random_samples(first.input_shapes, first.input_types)
    for model in models[1:]:
        model.fit_inputs(made_up.inputs, f"What {first.name} takes")
    return made_up.inputs


def _names(files: Sequence[Path]) -> list[str]:
    names = [file.name for file in files]
    return names if len(set(names)) == len(names) else [str(file) for file in files]
