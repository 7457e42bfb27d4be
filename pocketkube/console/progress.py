"""Shows how far a long piece of work is: a bar on a terminal, a line every few seconds elsewhere."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from pocketkube.console.terminal import Console, visible, visible_output

SECONDS_BETWEEN_LINES = 5.0


class Progress(Protocol):
    """What work that takes a while reports to."""

    def update(self, step: int, **figures: float) -> None:
        """Says that `step` steps are done, with figures such as `loss=0.31`."""


class Silent:
    """Shows nothing."""

    def update(self, step: int, **figures: float) -> None:
        """Shows nothing."""


@contextmanager
def progress(stage: str, steps: int, unit: str = "step") -> Iterator[Progress]:
    """Follows `steps` steps of `stage` on standard error.

    Args:
        stage: What is being done, in a word or two.
        steps: How many steps there are.
        unit: What a step is called.

    Yields:
        The progress to report to.
    """
    if sys.stderr.isatty():
        with (
            RichProgress(
                TextColumn("{task.description}", style="bold", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}", markup=False),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            ) as bars,
            # What is printed above the bar goes through rich, which knows colours.
            visible_output(),
        ):
            yield _Bar(bars, visible(stage), steps)
    else:
        lines = _Lines(stage, steps, unit)
        yield lines


@contextmanager
def working(stage: str, **facts: str) -> Iterator[None]:
    """Says on standard error what is being done for nobody knows how long.

    A terminal shows for how long so far, until it is done; elsewhere a line says that it begins. No
    `progress` may begin meanwhile.

    Args:
        stage: What is being done, in a word or two.
        facts: More of it, such as `to="int8"`.
    """
    words = " ".join(f"{name}={value}" for name, value in facts.items())
    if not sys.stderr.isatty():
        print(f"stage={stage} {words}", file=sys.stderr, flush=True)
        yield
        return
    with (
        # A way of its own to the terminal: what libraries print meanwhile may be caught.
        os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding) as terminal,
        RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}", style="bold", markup=False),
            TextColumn("{task.fields[facts]}", markup=False),
            TimeElapsedColumn(),
            console=Console(terminal),
            transient=True,
        ) as shown,
        visible_output(),
    ):
        shown.add_task(visible(stage), total=None, facts=visible(words))
        yield


class _Bar:
    def __init__(self, bars: RichProgress, stage: str, steps: int):
        self._bars = bars
        self._task = bars.add_task(stage, total=steps, figures="")

    def update(self, step: int, **figures: float) -> None:
        self._bars.update(self._task, completed=step, figures=_words(figures))


class _Lines:
    def __init__(self, stage: str, steps: int, unit: str):
        self._stage, self._steps, self._unit = stage, steps, unit
        self._began = self._last = time.monotonic()
        self._first_step: int | None = None

    def update(self, step: int, **figures: float) -> None:
        now = time.monotonic()
        if self._first_step is None:
            # A resumed run starts in the middle: only the steps seen here say how fast it goes.
            self._first_step, self._began = step, now
        if now - self._last < SECONDS_BETWEEN_LINES and step < self._steps:
            return
        self._last = now
        done = step - self._first_step
        shown = f" {_words(figures)}" if figures else ""
        if done:
            shown += f" left={(now - self._began) / done * (self._steps - step):.0f}s"
        print(
            f"stage={self._stage} {self._unit}={step}/{self._steps}{shown}", file=sys.stderr, flush=True
        )


def _words(figures: dict[str, float]) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in figures.items())
