"""One trial as a command: what Katib starts in a pod, and what can be started by hand."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pocketkube.errors import UserError, repeatable
from pocketkube.graph.budgets import NS_PER_MS
from pocketkube.processes.ranks import started_first
from pocketkube.search.applied import applied_choice
from pocketkube.search.problem import Problem
from pocketkube.storage import LocalLocation, parse_location

# Katib's collector of metrics looks for the process, and does not find one that ended at once.
SHORTEST_SECONDS = 3.0


def run_trial(prepared: str, metrics: Path, given: Sequence[str], *, as_given: bool = False) -> None:
    """Evaluates one assignment, brought onto the budget first, and writes what came of it.

    Of several processes that fine-tune together only the first one writes.

    Args:
        prepared: The bundle: a folder, or s3://….
        metrics: The file to write, a line name=value for each metric; it is created at once. Where
            trials are fine-tuned, scores between steps come before the trial's own.
        given: The assignment, as NAME=VALUE for each parameter.
        as_given: Whether one within the budget is taken as it is; see `applied_choice`.

    Raises:
        UserError: If the bundle or the assignment is wrong, the file cannot be written, or the score is
            no number.
    """
    began = time.monotonic()
    values = _values(given)
    with ExitStack() as stack:
        # It is written into where it is: who follows the file would lose one that is replaced.
        written = None
        if started_first():
            try:
                metrics.parent.mkdir(parents=True, exist_ok=True)
                written = stack.enter_context(metrics.open("w", encoding="utf-8"))
            except OSError as error:
                raise UserError(f"--metrics: cannot write {metrics}: {error.strerror}.") from None
        location = parse_location(prepared)
        folder = stack.enter_context(location.fetched())
        from pocketkube.search.prepared import open_prepared

        evaluator = open_prepared(folder, remembers=isinstance(location, LocalLocation))
        problem = evaluator.problem
        applied = applied_choice(problem, problem.space.choice(values), as_given=as_given)

        def tell(lines: str) -> None:
            if written is not None:
                written.write(lines)
                written.flush()

        # At once, for a trial that is ended early has them, too.
        tell(known_text(problem, applied))
        found = evaluator.evaluate(applied, lambda score: tell(score_text(score)))
        # Katib reads no line without a number: an earlier score would be the trial's last.
        if not math.isfinite(found.score):
            raise UserError("The trial's score is no number.")
        tell(score_text(found.score))
    time.sleep(max(0.0, SHORTEST_SECONDS - (time.monotonic() - began)))


def known_text(problem: Problem, applied: Sequence[int]) -> str:
    """What is known of a trial before it is scored, as Katib reads it: a line name=value each.

    Args:
        problem: The search.
        applied: The choice that is evaluated.
    """
    metrics = problem.all_costs(applied)
    if "latency" in metrics:
        metrics["latency_ms"] = metrics["latency"] / NS_PER_MS
    for name, value in problem.space.values(np.array(applied)).items():
        metrics[f"applied.{name}"] = value
    return "".join(f"{name}={value:.10g}\n" for name, value in metrics.items())


def score_text(score: float) -> str:
    """A score as Katib reads it, with the time by which it tells the latest.

    Args:
        score: With all its digits, so that algorithms see what they see in a search without Katib.
    """
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"{now} score={score!r}\n"


def _values(given: Sequence[str]) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UserError(
                f"{repeatable(word)} needs the form NAME=VALUE, as in conv1.kept=0.5; one for each "
                "parameter."
            )
        if name in found:
            raise UserError(f"{name} is given twice.")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise UserError(f"{name} has to be a number; received {repeatable(value)}.")
    return found
