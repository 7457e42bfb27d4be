"""Measures latency until it is known well enough, and says whether the machine was quiet."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from pocketkube.benchmarking.clock import ClockWatch
from pocketkube.benchmarking.intervals import Estimate, median_estimate, ratio_estimate
from pocketkube.benchmarking.machine_load import Load, Watch, load_of
from pocketkube.benchmarking.processor import processor
from pocketkube.benchmarking.samples import Samples, random_samples
from pocketkube.benchmarking.timing import Rounds
from pocketkube.console.progress import Progress, progress
from pocketkube.litert.running import LiteRTModel
from pocketkube.spec.sections import Benchmark

# How many times benchmark.runs there are at most.
MOST_TIMES = 10


@dataclass(frozen=True)
class Times:
    """Times of files that ran in turn, with one number of threads.

    Attributes:
        runs_ms: For each file, each run in order.
        medians_ms: For each file, the median.
        ratio: The first file's time over the last one's; None for a single file.
    """

    runs_ms: tuple[tuple[float, ...], ...]
    medians_ms: tuple[Estimate, ...]
    ratio: Estimate | None


@dataclass(frozen=True)
class Latencies:
    """What was measured.

    Attributes:
        threads: Times by number of threads.
        load: What was going on meanwhile.
    """

    threads: dict[int, Times]
    load: Load


def measure_latencies(
    files: Sequence[Path],
    settings: Benchmark,
    examples: Samples | None = None,
    limit_ms: float | None = None,
) -> Latencies:
    """Runs LiteRT files in turn until `settings.precision` is reached, or its limits.

    Args:
        files: The files.
        settings: How many runs, how precise, how long, with how many threads.
        examples: What the files run on; random numbers where there are none.
        limit_ms: What the last file's median is to be told from, if it can be.

    Raises:
        UserError: If examples do not fit a file.
    """
    watch = Watch()
    clock = ClockWatch([core.number for core in processor().cores])
    threads = {
        number: _times(files, settings, number, examples, limit_ms, clock)
        for number in dict.fromkeys(settings.threads)
    }
    series = [times.runs_ms for times in threads.values()]
    return Latencies(threads, load_of(watch.stop(), series, clock.clock()))


def _times(
    files: Sequence[Path],
    settings: Benchmark,
    threads: int,
    examples: Samples | None,
    limit_ms: float | None,
    clock: ClockWatch,
) -> Times:
    models = [LiteRTModel(file, threads) for file in files]
    rounds = Rounds(models, shared_inputs(models, examples))
    stage = f"latency, {threads} thread{'s' if threads > 1 else ''}"
    began = perf_counter()
    rounds.warm_up(settings.warmup_runs)
    clock.begin()
    runs = settings.runs
    while runs:
        with progress(stage, runs, "round") as shown:
            rounds.run(runs, partial(_after_round, shown, clock))
        runs = further_runs(rounds.times_ms, settings, perf_counter() - began, limit_ms)
        if runs:
            # What the judging left in the processor's caches is none of the models'.
            rounds.warm_up(1)
    of_files = tuple(map(tuple, rounds.times_ms))
    return Times(
        of_files,
        tuple(median_estimate(of_file) for of_file in of_files),
        ratio_estimate(of_files[0], of_files[-1]) if len(of_files) > 1 else None,
    )


def _after_round(shown: Progress, clock: ClockWatch, done: int) -> None:
    clock.look()
    shown.update(done)


def further_runs(
    times_ms: Sequence[Sequence[float]],
    settings: Benchmark,
    seconds: float,
    limit_ms: float | None = None,
) -> int:
    """How many runs more it takes: none when the interval is narrow, or a limit is reached.

    They are as many as were made, so that the interval is looked at a few times only: to stop at the
    first of many looks that seems narrow would be to choose a lucky one.

    Args:
        times_ms: For each file, each run so far.
        settings: The precision and the limits.
        seconds: How long that took.
        limit_ms: What the last file's median is to be told from.
    """
    done, last = len(times_ms[0]), median_estimate(times_ms[-1])
    judged = ratio_estimate(times_ms[0], times_ms[-1]) if len(times_ms) > 1 else last
    told_apart = limit_ms is None or not last.low <= limit_ms <= last.high
    if judged.relative_width <= settings.precision and told_apart:
        return 0
    in_time = int(done * (settings.max_seconds - seconds) / seconds)
    return max(0, min(done, MOST_TIMES * settings.runs - done, in_time))


def shared_inputs(models: Sequence[LiteRTModel], examples: Samples | None) -> tuple[np.ndarray, ...]:
    """The same examples for all files, so that none has the easier ones.

    Args:
        models: The files, loaded; they are brought to the examples' size.
        examples: What they run on; random numbers where there are none.

    Returns:
        One array `[N, ...]` for each input.

    Raises:
        UserError: If examples do not fit a file.
    """
    samples = examples or random_samples(models[0].input_shapes, models[0].example_types)
    origin = examples.origin if examples else f"What {models[0].name} takes"
    for model in models:
        model.fit_inputs(samples.inputs, origin)
    return samples.inputs
