"""Prunes for a latency by a table, of this machine, where the real file is measured, or of another."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from pocketkube.data.dataset import Arrays
from pocketkube.errors import MachineError, UserError
from pocketkube.figures import milliseconds
from pocketkube.files.layout import TABLE_FILE
from pocketkube.graph.budgets import NS_PER_MS
from pocketkube.latency_table.another_device import another_device
from pocketkube.latency_table.budget import Latency
from pocketkube.latency_table.measuring import measure_table
from pocketkube.latency_table.prunings import latency_budget, random_prunings
from pocketkube.pruning.pruner import Pruned, Pruner
from pocketkube.stages.configs import PruneChannelsConfig
from pocketkube.stages.foreseen import foreseen_file
from pocketkube.stages.formats import last_format

# The table is a few percent off: so often its aim is corrected by what was measured.
AIMS = 6
_MARGIN = 0.98
# A file that costs less than this part of what it may is pruned more than needed.
_CLOSE = 0.9
# A table that only has to lead near the target is measured in fewer rounds.
_ROUNDS = 3


@dataclass(frozen=True)
class Judge:
    """Judges a pruned model by its file.

    Attributes:
        cost: What the file costs, in parts of what it may.
        note: Takes a sentence for the user.
    """

    cost: Callable[[Pruned], float]
    note: Callable[[str], None]


def prune_by_table(
    config: PruneChannelsConfig,
    model: keras.Model,
    pruner: Pruner,
    examples: Arrays,
    scratch: Path,
    limit_ms: float,
    judge: Judge,
    prune_to_counts: Callable[[Mapping[str, int]], Pruned],
) -> Pruned | None:
    """Prunes a model until the file that the job ends in is fast enough.

    The table is that of the device that the target names, or else is measured on this machine.

    Args:
        config: The stage's.
        model: The model.
        pruner: Its pruner, as the spec's settings say.
        examples: Training examples, for the ranges of an int8 file.
        scratch: Where the table is kept while the stage runs.
        limit_ms: The latency to reach.
        judge: Has the last word.
        prune_to_counts: Prunes the model to counts.

    Returns:
        The least pruned model whose file fits; None where the table leads to none.

    Raises:
        UserError: If the table of another device cannot be pruned by.
    """
    assert config.target is not None
    try:
        budget = _budget(config, model, pruner, examples, scratch)
    except UserError as error:
        if config.target.latency_table:
            raise error.saying(
                f"target.latency_table: {config.target.latency_table}: {error}"
            ) from error
        if isinstance(error, MachineError):
            raise
        judge.note(f"No latency table: {error}")
        return None
    goal_ms, found = limit_ms, None
    tried: list[Mapping[str, int]] = []
    aims: list[tuple[float, float]] = []
    for _ in range(AIMS):
        try:
            counts = pruner.counts_for_budget(budget, goal_ms * NS_PER_MS)
        except UserError:
            return found
        if counts in tried:
            return found
        tried.append(counts)
        candidate = prune_to_counts(counts)
        judge.note(f"the latency table foresees {milliseconds(budget.latency_ms(counts))}")
        cost = judge.cost(candidate)
        if cost <= 1 and (found is None or candidate.after.macs > found.after.macs):
            found = candidate
        if _CLOSE <= cost <= 1:
            return found
        aims.append((goal_ms, cost))
        goal_ms = next_aim(aims)
    return found


def next_aim(aims: Sequence[tuple[float, float]]) -> float:
    """The latency to ask the table for next, in milliseconds.

    Between the aims whose files are nearest to the limit from either side, where there are both; else
    as much lower or higher as the last file was off.

    Args:
        aims: What it was asked for so far, each with what the file cost, in parts of what it may.
    """
    fits = [aim for aim in aims if aim[1] <= 1]
    beyond = [aim for aim in aims if aim[1] > 1]
    if not (fits and beyond):
        goal_ms, cost = aims[-1]
        return goal_ms * _MARGIN / cost
    (low, below), (high, above) = max(fits, key=lambda aim: aim[1]), min(beyond, key=lambda aim: aim[1])
    part = math.log(_MARGIN / below) / math.log(above / below)
    return low * (high / low) ** min(max(part, 0.1), 0.9)


def _budget(
    config: PruneChannelsConfig, model: keras.Model, pruner: Pruner, examples: Arrays, scratch: Path
) -> Latency:
    # Times do not depend on which channels go: the quickest pruner serves.
    settings = config.settings
    quick = Pruner(model, round_to=settings.round_to, max_ratio=settings.max_ratio)
    prunings = random_prunings(
        quick,
        last_format(config.stages).numbers,
        lambda pruned: foreseen_file(config.stages, pruned, examples),
        config.seed,
    )
    assert config.target is not None
    if config.target.latency_table:
        table = another_device(config.target.latency_table).table
    else:
        scratch.mkdir(parents=True, exist_ok=True)
        table = measure_table(prunings.networks, scratch / TABLE_FILE, rounds=_ROUNDS)
    return replace(latency_budget(quick, prunings, table), model=pruner.costs)
