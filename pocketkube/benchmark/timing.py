"""Times runs of several models in turn, so that what slows the machine slows all of them alike."""

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np

from pocketkube.litert import LiteRTModel


def interleaved_latencies_ms(
    models: Sequence[LiteRTModel],
    inputs: Sequence[np.ndarray],
    runs: int,
    warmup_runs: int,
    after_each_round: Callable[[], None] = lambda: None,
) -> tuple[tuple[float, ...], ...]:
    """Times models A and B in the order A B A B ..., each round on the same example.

    A run is what an app does: copy the input in, and compute. Quantizing the input, where a file
    takes integers, is done before.

    Args:
        models: The models, loaded.
        inputs: One array `[N, ...]` for each input, taken in turn.
        runs: Timed runs of each model.
        warmup_runs: Runs of each before those.
        after_each_round: Called, outside of the timed part, whenever each model has run once.

    Returns:
        For each model, milliseconds of each timed run in order.
    """
    rounds = warmup_runs + runs
    kept = min(len(inputs[0]), rounds)
    prepared = [
        [model.prepare(example) for example in zip(*(a[:kept] for a in inputs), strict=True)]
        for model in models
    ]
    times_ms: list[list[float]] = [[] for _ in models]
    # A collection in the middle of a run would be counted as the model's.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(rounds):
            for model, examples, measured in zip(models, prepared, times_ms, strict=True):
                example = examples[number % kept]
                began = time.perf_counter_ns()
                model.invoke(example)
                measured.append((time.perf_counter_ns() - began) / 1e6)
            after_each_round()
    finally:
        if collecting:
            gc.enable()
    return tuple(tuple(measured[warmup_runs:]) for measured in times_ms)
