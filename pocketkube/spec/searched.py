"""Whether a spec's search fits its stages and its target, and what its budget counts."""

from collections.abc import Sequence
from typing import Final, Literal

from pocketkube.spec.sections import (
    PruneChannels,
    Search,
    SparsifyWeights,
    StageBase,
    Target,
    Trials,
)

# "parameters" are those that are not zero.
BudgetName = Literal["macs", "parameters", "mean_bits", "bytes", "latency"]

# Stages after which zeros are stored like other weights.
IN_INTEGERS: Final = ("quantize_weights", "quantize_int8", "quantize_dynamic")
# What a search decides of a stage, so that its settings do not.
DECIDED: Final = {
    "prune_channels": ("ratios", "scope"),
    "sparsify_weights": ("ratios", "distribution"),
    "quantize_weights": ("layers", "weight_bits"),
}


# What a search for a front may be asked for, and what else knows no single budget.
OF_A_FRONT: Final = ("nsga2", "motpe", "milp", "random", "uniform")
OF_A_FRONT_ALONE: Final = ("nsga2", "motpe")
# What proposes trials under Katib, by the sampler's name: services of ours, or Katib's own algorithms.
OURS_UNDER_KATIB: Final = ("ddpg", "tpe", "milp")
OF_KATIB: Final = {"random": "random", "cmaes": "cmaes", "gp": "bayesianoptimization"}
# So many scores a trial tells, evenly spaced over its fine-tuning; the last of them is its own.
SCORES: Final = 5


def check_search(search: Search, stages: Sequence[StageBase], target: Target | None) -> None:
    """Refuses a search that does not fit the rest of its spec.

    Args:
        search: The section.
        stages: All of the spec's stages.
        target: What the job has to reach.

    Raises:
        ValueError: If it does not; begins with the key that it is about.
    """
    for name in search.over:
        found = [stage for stage in stages if stage.name == name]
        if not found:
            raise ValueError(f"search: over names {name}, which is none of stages; add it there")
        if len(found) > 1:
            raise ValueError(f"search: {name} stands in stages {len(found)} times; search one of them")
        _check_undecided(found[0])
    searched_budget(search, stages, target)
    _check_front(search, stages, target)


def check_trials(search: Search, trials: Trials) -> None:
    """Refuses a section of trials that a search has no use for.

    Args:
        search: What is searched.
        trials: Where its trials run.

    Raises:
        ValueError: If it asks for what cannot be; begins with the key that it is about.
    """
    steps, known = search.fine_tune_steps, (*OURS_UNDER_KATIB, *OF_KATIB)
    if search.front and trials.launcher == "katib":
        raise ValueError(
            "search: a front weighs two objectives, and a Katib Experiment has one; let "
            "cluster.trials.launcher be inline, or leave front out"
        )
    if trials.launcher == "katib" and search.sampler not in known:
        raise ValueError(
            f"search: {search.sampler} is no algorithm of Katib; name one of {', '.join(known)} as "
            "sampler, or let cluster.trials.launcher be inline"
        )
    if trials.early_stopping and trials.launcher != "katib":
        raise ValueError(
            "cluster: trials.early_stopping ends trials of a Katib Experiment, and trials.launcher is "
            f"{trials.launcher}; let it be katib, or leave early_stopping out"
        )
    if trials.early_stopping and steps < SCORES:
        raise ValueError(
            "cluster: trials.early_stopping ends trials between steps of fine-tuning, and "
            f"search.evaluate.fine_tune_steps is {steps}; let it be {SCORES} or more, or leave "
            "early_stopping out"
        )
    if trials.launcher == "katib" and trials.workers > 1 and not steps:
        raise ValueError(
            f"cluster: trials.workers: {trials.workers} processes would share a trial's fine-tuning, "
            "and search.evaluate.fine_tune_steps is 0; let it be more, or workers 1"
        )


def searched_budget(search: Search, stages: Sequence[StageBase], target: Target | None) -> BudgetName:
    """What the one budget of a search counts.

    Args:
        search: The section.
        stages: All of the spec's stages, among them those that it names.
        target: What the job has to reach.

    Returns:
        Its name. "bytes" is target.max_size, "latency" target.max_latency_ms, "macs" and "parameters"
        target.speedup of what prune_channels counts, "mean_bits" the search's own; "parameters"
        without prune_channels are those that sparsify_weights' sparsity leaves.

    Raises:
        ValueError: If nothing is the budget, or several things are.
    """
    over = frozenset(search.over)
    given = _given(search, stages, target)
    if len(given) > 1:
        raise ValueError(
            f"search: has one budget for all that it decides, and {' and '.join(given.values())} are "
            "several; give one"
        )
    if not given:
        raise ValueError(f"search: has to know how far to go; {_advice(over)}")
    (budget, source), *_ = given.items()
    wrong = {
        "macs": over - {"prune_channels"},
        "parameters": over - {"prune_channels", "sparsify_weights"},
        "mean_bits": over - {"quantize_weights"},
        "latency": over - {"prune_channels"},
        # A LiteRT file of integers has a place for each zero.
        "bytes": over & {"sparsify_weights"} if _ends_in_integers(stages) else frozenset(),
    }[budget]
    if wrong:
        raise ValueError(f"search: {source} limits nothing of {min(wrong)}; {_advice(over)}")
    if budget == "latency" and target is not None and not target.latency_table:
        raise ValueError(
            "target: a search foresees max_latency_ms by a table of the device; give latency_table, as "
            "the stage measure_latency_table writes it"
        )
    alone = {"prune_channels"} - over
    pruning = [stage for stage in stages if isinstance(stage, PruneChannels) and stage.name in alone]
    if budget == "bytes" and not all(stage.ratios for stage in pruning):
        raise ValueError(
            "search: over leaves out prune_channels, which would reach max_size by itself; name it, "
            "too, or give it ratios"
        )
    return budget


def _ends_in_integers(stages: Sequence[StageBase]) -> bool:
    """Whether weights are on levels, or the file that the job ends in is of 8 bits."""
    return any(stage.name in IN_INTEGERS for stage in stages)


def _given(search: Search, stages: Sequence[StageBase], target: Target | None) -> dict[BudgetName, str]:
    """What could be the search's budget, and what it is called in the spec."""
    found: dict[BudgetName, str] = {}
    pruning = [stage for stage in stages if isinstance(stage, PruneChannels)]
    sparsifying = [stage for stage in stages if isinstance(stage, SparsifyWeights)]
    prunes = "prune_channels" in search.over
    if search.mean_bits is not None:
        found["mean_bits"] = "mean_bits"
    if target and target.max_size is not None:
        found["bytes"] = "target.max_size"
    if target and target.max_latency_ms is not None and prunes:
        found["latency"] = "target.max_latency_ms"
    if target and target.speedup is not None and prunes:
        found[pruning[0].budget] = "target.speedup"
    if not found and search.over == ("sparsify_weights",):
        found["parameters"] = f"sparsify_weights' sparsity {sparsifying[0].sparsity:g}"
    return found


def _check_front(search: Search, stages: Sequence[StageBase], target: Target | None) -> None:
    if search.front is None:
        if search.sampler in OF_A_FRONT_ALONE:
            raise ValueError(
                f"search: {search.sampler} weighs scores against budgets; give it their range, as in "
                "front: {speedup: [2, 6]}, or name another sampler"
            )
        return
    if search.sampler not in OF_A_FRONT:
        raise ValueError(
            f"search: {search.sampler} searches one budget, not a front; name one of "
            f"{', '.join(OF_A_FRONT)} as sampler, or leave front out"
        )
    ((budget, source),) = _given(search, stages, target).items()
    key, name = source.rpartition(".")[2], search.front.ends[0]
    if key not in type(search.front).model_fields:
        raise ValueError(f"search: there is no front of {source}; leave front out")
    if name != key:
        raise ValueError(
            f"search: front is of {name}, and the budget is {source}; give front: {{{key}: […]}}, or "
            f"{name} in place of {source}"
        )
    value = search.mean_bits if budget == "mean_bits" else getattr(target, key)
    _, low, high = search.front.ends
    assert value is not None
    if not low <= value <= high:
        raise ValueError(
            f"search: {source} is {value:g}, and the front goes from {low:g} to {high:g}; the job "
            "goes on with what meets the one, so let it lie in the other"
        )


def _check_undecided(stage: StageBase) -> None:
    if isinstance(stage, SparsifyWeights) and stage.pattern == "two_of_four":
        raise ValueError(
            "search: sparsify_weights' pattern two_of_four makes half of each layer zero, which leaves "
            "nothing to search; leave it out of over"
        )
    for name in DECIDED[stage.name]:
        if getattr(stage, name) != type(stage).model_fields[name].default:
            raise ValueError(
                f"search: decides what {stage.name}' {name} is to decide; leave that out, or "
                f"{stage.name} out of over"
            )


def _advice(over: frozenset[str]) -> str:
    if over == {"prune_channels"}:
        return "give target: {speedup: 2}, max_size, or max_latency_ms and latency_table"
    if over == {"quantize_weights"}:
        return "give mean_bits or target: {max_size: …}"
    if over == {"sparsify_weights"}:
        return (
            "leave mean_bits out: sparsify_weights' sparsity is the budget, or max_size of a float file"
        )
    if {"sparsify_weights", "quantize_weights"} <= over:
        return "no budget counts zeros and bits together: leave one of the two out of over"
    if "sparsify_weights" in over:
        return (
            "give target.speedup and prune_channels: {budget: parameters}, or max_size of a float file"
        )
    return "give target: {max_size: …}, which counts all that it decides"
