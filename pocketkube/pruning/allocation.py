"""How many units every group keeps, so that the whole costs what it may."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pocketkube.errors import UserError
from pocketkube.graph.bounds import compare_macs, uncounted_note
from pocketkube.graph.dependency import ChannelGraph, Group

Counts = np.ndarray
CLOSE_ENOUGH = 0.998
SWAP_BELOW = 0.992
SWAP_GROUPS = 40


def allocate(
    graph: ChannelGraph,
    scores: np.ndarray,
    cost: Callable[[np.ndarray], float],
    goal: float,
    *,
    scope: str,
    max_ratio: float,
    round_to: int,
    unknown: Sequence[str] = (),
) -> Counts:
    """Solves for how many units each group keeps.

    Args:
        graph: The channel graph.
        scores: Each unit's score.
        cost: From a mask of kept units to what they cost.
        goal: The most they may cost.
        scope: "global" removes the lowest scores of all groups; "uniform" the same part of each.
        max_ratio: Most of a group's units that may go.
        round_to: Counts are multiples of this. A group of fewer than four times as many units uses
            half of it, and so on, so that small groups have a choice too; attention heads use 1.
        unknown: Layers that cost more than `cost` counts.

    Returns:
        Units to keep in each of the graph's groups, `[groups]`.

    Raises:
        UserError: If even the smallest counts cost more; it names the best that can be reached.
    """
    steps = np.array([_step(group, round_to) for group in graph.groups])
    sizes = np.array([len(group.units) for group in graph.groups])
    least = _rounded(np.ceil(sizes * (1 - max_ratio) - 1e-9), steps, sizes, np.ceil)
    needed = _needed_units(graph, scores)
    least = np.maximum(least, [needed[group.units].sum() for group in graph.groups])
    least = np.where([np.isinf(scores[g.units]).all() for g in graph.groups], sizes, least)

    ranking = rank_units(graph, scores)

    def of_counts(counts: Counts) -> float:
        return cost(keep_best(ranking, counts))

    full, smallest = of_counts(sizes), of_counts(least)
    if smallest > goal:
        most = compare_macs(full, unknown, smallest, unknown)
        raise UserError(
            f"The target of {full / goal:.2f}x cannot be reached: at most {max_ratio:.0%} of a group's "
            f"channels may go, which gives {most}; ask for less, or raise max_ratio. "
            + "".join(f"{sentence}. " for sentence in graph.left_whole)
            + (uncounted_note(unknown) if unknown else "")
        )
    removed = _global_order(graph, scores) if scope == "global" else _uniform_order(sizes)

    def at(position: int) -> Counts:
        kept = sizes - removed(position)
        return np.maximum(_rounded(kept, steps, sizes, np.rint), least)

    low, high = 0, int(sizes.sum())
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if of_counts(at(middle)) <= goal else (middle, high)
    counts = at(high)
    if of_counts(counts) > goal:
        counts = least
    return _fill(graph, scores, counts, least, steps, sizes, of_counts, goal)


def counts_from_ratios(
    graph: ChannelGraph, scores: np.ndarray, ratios: Mapping[str, float], round_to: int
) -> Counts:
    """Units that each group keeps where parts to cut are given by a layer's name.

    Args:
        graph: The channel graph.
        scores: Each unit's score.
        ratios: Part of the units that goes, by the name of any layer of the group; a group without
            keeps all.
        round_to: See `allocate`.

    Returns:
        Units to keep in each of the graph's groups, `[groups]`: the nearest multiple, and enough for
        every layer to have a channel.

    Raises:
        UserError: If a name is that of no layer with channels to cut, or two names of one group
            contradict each other.
    """
    given: dict[int, tuple[str, float]] = {}
    for name, ratio in ratios.items():
        found = [i for i, group in enumerate(graph.groups) if name in group.layers]
        if not found:
            names = ", ".join(group.name for group in graph.groups)
            raise UserError(
                f"ratios: {name} is no layer whose channels may be cut; there are: {names}."
            )
        for i in found:
            if given.get(i, (name, ratio))[1] != ratio:
                raise UserError(
                    f"ratios: {name} and {given[i][0]} share their channels and need the same ratio."
                )
            given[i] = (name, ratio)
    parts = np.array([given[i][1] if i in given else 0.0 for i in range(len(graph.groups))])
    sizes = np.array([len(group.units) for group in graph.groups])
    steps = np.array([_step(group, round_to) for group in graph.groups])
    needed = _needed_units(graph, scores)
    least = np.array([needed[group.units].sum() for group in graph.groups])
    kept = np.maximum(_rounded(sizes * (1 - parts), steps, sizes, np.rint), least)
    return np.where(parts > 0, kept, sizes)


def rank_units(graph: ChannelGraph, scores: np.ndarray) -> list[np.ndarray]:
    """The units of each group, the best first; before them those without which a layer is empty."""
    needed = _needed_units(graph, scores)
    # A stable sort: ties go the same way on every machine.
    orders = (np.lexsort((-scores[g.units], ~needed[g.units])) for g in graph.groups)
    return [group.units[order] for group, order in zip(graph.groups, orders, strict=True)]


def keep_best(ranking: Sequence[np.ndarray], counts: Counts) -> np.ndarray:
    """The mask of the first `counts` units of each group's ranking."""
    keep = np.zeros(sum(map(len, ranking)), bool)
    for units, count in zip(ranking, counts, strict=True):
        keep[units[: int(count)]] = True
    return keep


def _needed_units(graph: ChannelGraph, scores: np.ndarray) -> np.ndarray:
    """A mask of units that leaves every layer at least one channel: the best of each.

    A group can hold the channels of several layers that are no others' partners, where a residual
    connection adds to a concatenation.
    """
    needed = np.zeros(graph.units.count, bool)
    for use in graph.uses:
        channels = use.outputs[0] if id(use.op) in graph.units.first else None
        if channels is not None:
            made = graph.units.of(channels)
            if (made >= 0).all() and not needed[made].any():
                needed[made[scores[made].argmax()]] = True
    return needed


def _step(group: Group, round_to: int) -> int:
    if group.name.endswith("/heads"):
        return 1
    while round_to > 1 and len(group.units) < 4 * round_to:
        round_to //= 2
    return round_to


def _rounded(
    counts: np.ndarray, steps: np.ndarray, sizes: np.ndarray, how: Callable[[np.ndarray], np.ndarray]
) -> Counts:
    return np.clip(how(counts / steps) * steps, np.minimum(steps, sizes), sizes).astype(int)


def _global_order(graph: ChannelGraph, scores: np.ndarray) -> Callable[[int], np.ndarray]:
    """From how many units go altogether to how many go in each group."""
    order = np.argsort(scores, kind="stable")
    group_of = np.empty(len(scores), int)
    for position, group in enumerate(graph.groups):
        group_of[group.units] = position
    return lambda gone: np.bincount(group_of[order[:gone]], minlength=len(graph.groups))


def _uniform_order(sizes: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda gone: sizes * (gone / sizes.sum())


def _fill(
    graph: ChannelGraph,
    scores: np.ndarray,
    counts: Counts,
    least: Counts,
    steps: np.ndarray,
    sizes: np.ndarray,
    cost: Callable[[Counts], float],
    goal: float,
) -> Counts:
    """Gives back, one step of a group at a time, what rounding took too much: the best value first."""
    # What always stays (infinite) is the same in all options, and tells none from another.
    finite = np.where(np.isinf(scores), 0.0, scores)
    best_first = [g.units[np.argsort(-scores[g.units], kind="stable")] for g in graph.groups]
    ranked = [np.cumsum(finite[units]) for units in best_first]

    def worth(option: Counts) -> float:
        return sum(sums[count - 1] for sums, count in zip(ranked, option, strict=True))

    now = cost(counts)
    while now < CLOSE_ENOUGH * goal:
        options = _one_more(counts, steps, sizes)
        if now < SWAP_BELOW * goal and len(counts) <= SWAP_GROUPS:
            # Only where single steps are too coarse: pairs are many.
            options += [
                two
                for one in _one_more(counts, -steps, sizes)
                if (one >= least).all()
                for two in _one_more(one, steps, sizes)
            ]
        costs = np.array([cost(option) for option in options])
        fits = np.flatnonzero((costs > now + 1e-9) & (costs <= goal))
        if not len(fits):
            return counts
        values = np.array([worth(options[i]) for i in fits]) - worth(counts)
        gains = values / (costs[fits] - now)
        best = fits[gains.argmax()]
        counts, now = options[best], costs[best]
    return counts


def _one_more(counts: Counts, steps: np.ndarray, sizes: np.ndarray) -> list[Counts]:
    """All counts that differ by one step of one group."""
    options = []
    for position, step in enumerate(steps):
        more = counts.copy()
        more[position] = np.clip(counts[position] + step, 1, sizes[position])
        if more[position] != counts[position]:
            options.append(more)
    return options
