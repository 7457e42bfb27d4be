"""Times runs of several models in turn, so that what slows the machine slows all of them alike."""

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np

from pocketkube.litert.running import LiteRTModel


class Rounds:
    """Times models A and B in the order A B A B ..., each round on the same example.

    A run is what an app does: copy the input in, and compute. Quantizing the input, where a file
    takes integers, is done before.

    Attributes:
        times_ms: For each model, milliseconds of each timed run in order.
    """

    def __init__(self, models: Sequence[LiteRTModel], inputs: Sequence[np.ndarray]):
        """Begins without any run.

        Args:
            models: The models, loaded.
            inputs: One array `[N, ...]` for each input, taken in turn.
        """
        self.times_ms: list[list[float]] = [[] for _ in models]
        self._models, self._inputs = models, inputs
        self._prepared: list[list[tuple[np.ndarray, ...]]] = [[] for _ in models]
        self._done = 0

    def warm_up(self, count: int) -> None:
        """Runs each model `count` times without a record of it."""
        kept = [list(times) for times in self.times_ms]
        self.run(count)
        self.times_ms = kept

    def run(self, count: int, after_each: Callable[[int], None] = lambda done: None) -> None:
        """Runs each model `count` times more.

        Args:
            count: How often.
            after_each: Called, outside of the timed part, whenever each model has run once, with the
                number of times.
        """
        self._prepare(self._done + count)
        # A collection in the middle of a run would be counted as the model's.
        collecting = gc.isenabled()
        gc.disable()
        try:
            for done in range(count):
                number = (self._done + done) % len(self._inputs[0])
                for model, examples, measured in zip(
                    self._models, self._prepared, self.times_ms, strict=True
                ):
                    example = examples[number]
                    began = time.perf_counter_ns()
                    model.invoke(example)
                    measured.append((time.perf_counter_ns() - began) / 1e6)
                after_each(done + 1)
        finally:
            if collecting:
                gc.enable()
        self._done += count

    def _prepare(self, runs: int) -> None:
        """Brings as many examples as that many runs take to what each model takes."""
        wanted = min(runs, len(self._inputs[0]))
        for model, examples in zip(self._models, self._prepared, strict=True):
            for place in range(len(examples), wanted):
                examples.append(model.prepare([array[place] for array in self._inputs]))
