"""One trial as a command: what Katib starts in a pod, and what can be started by hand."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pocketkube.errors import UserError, repeatable
from pocketkube.graph.budgets import NS_PER_MS
from pocketkube.ranks import started_first
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project_choice
from pocketkube.storage import LocalLocation, parse_location

if TYPE_CHECKING:
    from pocketkube.search.evaluation import Evaluated

# Katib's collector of metrics looks for the process, and does not find one that ended at once.
SHORTEST_SECONDS = 3.0


def run_trial(prepared: str, metrics: Path, given: Sequence[str]) -> None:
    """Evaluates one assignment, brought under the budget first, and writes what came of it.

    Of several processes that fine-tune together only the first one writes.

    Args:
        prepared: The bundle: a folder, or s3://….
        metrics: The file to write, a line name=value for each metric; it is created at once.
        given: The assignment, as NAME=VALUE for each parameter.

    Raises:
        UserError: If the bundle or the assignment is wrong, or the file cannot be written.
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
        applied = project_choice(problem, problem.space.choice(values)).choice
        found = evaluator.evaluate(applied)
        if written is not None:
            written.write(metrics_text(problem, applied, found))
            written.flush()
    time.sleep(max(0.0, SHORTEST_SECONDS - (time.monotonic() - began)))


def metrics_text(problem: Problem, applied: Sequence[int], found: "Evaluated") -> str:
    """A trial's metrics as Katib reads them, a line name=value for each.

    Args:
        problem: The search.
        applied: The choice that was evaluated.
        found: What came of it.
    """
    metrics: dict[str, float] = {"score": found.score, **found.costs}
    if "latency" in found.costs:
        metrics["latency_ms"] = found.costs["latency"] / NS_PER_MS
    for name, value in problem.space.values(np.array(applied)).items():
        metrics[f"applied.{name}"] = value
    return "".join(f"{name}={value:.10g}\n" for name, value in metrics.items())


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
            raise UserError(f"{name} has to be a number; received {repeatable(value)}.") from None
    return found
