"""Where trials are evaluated: in this process, or in several of their own."""

import math
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pocketkube.errors import MachineError, first_line
from pocketkube.native.child import Child, ChildDied, ChildRefused
from pocketkube.plain_errors import in_words, out_of_memory
from pocketkube.search.trial import Trial
from pocketkube.spec.sections import Import

WORKER = "pocketkube.search.worker"

Choice = tuple[int, ...]


class Evaluation(Protocol):
    """What came of a trial; see `Trial`."""

    @property
    def score(self) -> float:
        """The score, more is better."""

    @property
    def costs(self) -> Mapping[str, float]:
        """What the network costs, by the cost's name."""

    @property
    def seconds(self) -> float:
        """How long it took."""


class Pool(Protocol):
    """Evaluates trials."""

    @property
    def parallel(self) -> int:
        """How many at a time."""

    def start(self, trial: Trial) -> Future[Trial]:
        """Evaluates a trial; the future gives it as it has ended, be it that it has failed.

        What the machine lacks is no fault of the trial: a `MachineError` is raised, here or by the
        future, and the trial can be evaluated again.
        """


class Here:
    """Evaluates in this process, one trial after the other.

    Attributes:
        parallel: One at a time.
    """

    parallel = 1

    def __init__(self, evaluate: Callable[[Choice], Evaluation]) -> None:
        """Takes what evaluates a choice; its errors fail the trial, but for a `MachineError`."""
        self._evaluate = evaluate

    def start(self, trial: Trial) -> Future[Trial]:
        """See `Pool`; the trial has ended then."""
        future: Future[Trial] = Future()
        began = time.monotonic()
        try:
            found = self._evaluate(trial.choice)
        except Exception as error:  # Libraries raise types of their own, private ones among them.
            meaning = in_words(error)
            if isinstance(meaning, MachineError):
                raise meaning from error
            future.set_result(_failed(trial, str(meaning or _named(error)), began))
        else:
            future.set_result(_done(trial, found.score, found.costs, found.seconds, began))
        return future


@contextmanager
def processes(prepared: Path, count: int, imports: Sequence[Import] = ()) -> Iterator[Pool]:
    """Processes that evaluate trials, and end with the block or with this process.

    Args:
        prepared: The folder that each of them opens, once.
        count: How many.
        imports: Modules that each of them imports before.
    """
    pool = _Processes(prepared, count, imports)
    try:
        yield pool
    finally:
        pool.end()


class _Processes:
    """Evaluates in processes of their own, which end with this one."""

    def __init__(self, prepared: Path, count: int, imports: Sequence[Import]) -> None:
        self._prepared, self.parallel = prepared, count
        self._imports = [each.model_dump() for each in imports]
        # A trial may train for hours on several cores; one that stands still is ended all the same.
        self._children = [Child(WORKER, work_limit_s=math.inf) for _ in range(count)]
        self._idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
        for child in self._children:
            self._idle.put(child)
        self._threads = ThreadPoolExecutor(count)

    def start(self, trial: Trial) -> Future[Trial]:
        return self._threads.submit(self._evaluated, trial)

    def end(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for child in self._children:
            child.end()
        self._threads.shutdown()

    def _evaluated(self, trial: Trial) -> Trial:
        child, began = self._idle.get(), time.monotonic()
        request = {
            "prepared": str(self._prepared),
            "choice": list(trial.choice),
            "parallel": self.parallel,
            "imports": self._imports,
        }
        try:
            found = child.ask(request)
        except ChildDied as error:
            if error.is_of_memory:
                raise out_of_memory() from error
            return _failed(trial, f"its process ended by {error.cause}", began)
        except ChildRefused as error:
            if isinstance(error.meaning, MachineError):
                raise error.meaning from error
            return _failed(trial, str(error), began)
        finally:
            self._idle.put(child)
        return _done(trial, found["score"], found["costs"], found["seconds"], began)


def _done(
    trial: Trial, score: float, costs: Mapping[str, float], seconds: float, began: float
) -> Trial:
    if not math.isfinite(score):
        return _failed(trial, "its score is no number", began)
    return replace(trial, state="done", score=score, costs=costs, seconds=seconds)


def _named(error: Exception) -> str:
    """An error that has no meaning for the user, with its type: its text may say little without."""
    kind, said = type(error).__name__, first_line(error)
    return kind if said == kind else f"{kind}: {said}"


def _failed(trial: Trial, cause: str, began: float) -> Trial:
    one_line = " ".join(cause.split())
    return replace(trial, state="failed", cause=one_line, seconds=time.monotonic() - began)
