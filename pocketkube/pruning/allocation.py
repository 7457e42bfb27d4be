"""How many units every group keeps, so that the whole costs what it may."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pocketkube.errors import UserError
from pocketkube.graph.bounds import compare_macs, uncounted_note
from pocketkube.graph.budgets import Budget
from pocketkube.graph.cost_model import CostModel

CLOSE_ENOUGH = 0.998
SWAP_BELOW = 0.992
SWAP_GROUPS = 40

# Units that each group keeps, `[groups]`.
Counts = np.ndarray


def allocate(
    budget: Budget,
    scores: Sequence[np.ndarray],
    goal: float,
    *,
    scope: str,
    max_ratio: float,
    are_losses: bool = False,
) -> Counts:
    """Solves for how many units each group keeps.

    Args:
        budget: What units cost, and of which network; its groups say in which steps they go, and how
            many have to stay.
        scores: For each group the score of each of its units, `[units]`; of what is infinite nothing
            goes.
        goal: The most that may be spent.
        scope: "global" removes the lowest scores of all groups; "uniform" the same part of each.
        max_ratio: What the groups' least counts follow from, for the message.
        are_losses: Whether scores are losses, which "global" takes in turn and holds against what units
            cost; else they compare as they are.

    Returns:
        Units to keep in each group, `[groups]`.

    Raises:
        UserError: If even the smallest counts cost more; it names the best that can be reached.
    """
    groups, sizes = budget.model.groups, budget.model.sizes
    steps = np.array([group.step for group in groups])
    least = np.array([group.least for group in groups])
    unscored = np.array([np.isinf(each).all() for each in scores], bool)
    least = np.where(unscored, sizes, least)

    def cost(counts: Counts) -> float:
        return float(budget.costs(counts[None])[0])

    full, smallest = cost(sizes), cost(least)
    if smallest > goal:
        staying = [group.name for group, stays in zip(groups, unscored, strict=True) if stays]
        raise UserError(_unreachable(budget, full, smallest, goal, max_ratio, staying))
    if scope == "uniform":
        removed = _uniform_order(sizes)
    elif are_losses:
        scores = [losses_in_turn(each) for each in scores]
        priced = [each / price for each, price in zip(scores, _prices(budget), strict=True)]
        removed = _global_order(priced)
    else:
        removed = _global_order(scores)

    def at(position: int) -> Counts:
        kept = sizes - removed(position)
        return np.maximum(_rounded(kept, steps, sizes), least)

    low, high = 0, int(sizes.sum())
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(at(middle)) <= goal else (middle, high)
    counts = at(high)
    if cost(counts) > goal:
        counts = least
    return _fill(budget, scores, counts, least, steps, goal)


def losses_in_turn(losses: np.ndarray) -> np.ndarray:
    """What the loss of each unit of a group becomes where all that lose less have gone before it.

    Those that are left are fitted and trained to do without what went, and the fewer they are, the less
    they can: a unit's loss is divided by the part of the group that is there when its turn comes. Where
    all n lose 1, keeping k of them then loses some n ln(n / k) instead of n - k: without this a wide
    layer of small losses would be cut to its least count before any other is touched.

    Args:
        losses: Of each unit alone, `[units]`.

    Returns:
        The losses in turn, `[units]`, which rank the units as before.
    """
    left = np.arange(len(losses), 0, -1) / len(losses)
    found = np.empty(len(losses))
    order = np.argsort(losses, kind="stable")
    found[order] = losses[order] / left
    return found


def _prices(budget: Budget) -> np.ndarray:
    """What a unit of each group costs while all others are there, `[groups]`; at least 1."""
    sizes = budget.model.sizes
    full, *without = budget.costs(np.stack([sizes, *(sizes - np.eye(len(sizes), dtype=int))]))
    return np.maximum(full - np.array(without), 1.0)


def counts_from_ratios(model: CostModel, ratios: Mapping[str, float], needed: Sequence[int]) -> Counts:
    """Units that each group keeps where parts to cut are given by a layer's name.

    Args:
        model: The network.
        ratios: Part of the units that goes, by the name of any layer of the group; a group without
            keeps all.
        needed: For each group the fewest units with which every layer has a channel.

    Returns:
        Units to keep in each group, `[groups]`: the nearest multiple of its step.

    Raises:
        UserError: If a name is that of no layer with channels to cut, two names of one group
            contradict each other, or a part is below 0, or 1 and more.
    """
    for name, part in ratios.items():
        if not 0 <= part < 1:
            raise UserError(f"ratios: {name} has to be at least 0 and less than 1; received {part:g}.")
    parts = by_group(model, ratios, "ratios", "ratio")
    sizes, steps = model.sizes, np.array([group.step for group in model.groups])
    wanted = np.array([parts.get(group.name, 0.0) for group in model.groups])
    kept = np.maximum(_rounded(sizes * (1 - wanted), steps, sizes), needed)
    return np.where(wanted > 0, kept, sizes)


def by_group(model: CostModel, values: Mapping[str, float], key: str, noun: str) -> dict[str, float]:
    """Values by their groups' names, where they are given by the name of any layer of a group.

    Args:
        model: The network.
        values: The values by layers' or groups' names.
        key: What the values are called, for messages.
        noun: What one of them is.

    Raises:
        UserError: If a name is that of no layer with channels to cut, or two names of one group
            contradict each other.
    """
    found: dict[str, tuple[str, float]] = {}
    for name, value in values.items():
        groups = [group.name for group in model.groups if name in group.layers]
        if not groups:
            names = ", ".join(group.name for group in model.groups)
            raise UserError(f"{key}: {name} is no layer whose channels may be cut; there are: {names}.")
        for group in groups:
            if found.get(group, (name, value))[1] != value:
                raise UserError(
                    f"{key}: {name} and {found[group][0]} share their channels and need the same "
                    f"{noun}."
                )
            found[group] = (name, value)
    return {group: value for group, (_, value) in found.items()}


def _unreachable(
    budget: Budget,
    full: float,
    smallest: float,
    goal: float,
    max_ratio: float,
    unscored: Sequence[str],
) -> str:
    most = compare_macs(full, budget.unknown, smallest, budget.unknown)
    return (
        f"The target of {full / goal:.2f}x cannot be reached: at most {max_ratio:.0%} of a group's "
        f"channels may go, which gives {most}; ask for less, or raise max_ratio. "
        + (f"The criterion has no score for {', '.join(unscored)}: all stay. " if unscored else "")
        + "".join(f"{sentence}. " for sentence in budget.model.left_whole)
        + (uncounted_note(budget.unknown) if budget.unknown else "")
    )


def _rounded(counts: np.ndarray, steps: np.ndarray, sizes: np.ndarray) -> Counts:
    return np.clip(np.rint(counts / steps) * steps, np.minimum(steps, sizes), sizes).astype(int)


def _global_order(scores: Sequence[np.ndarray]) -> Callable[[int], np.ndarray]:
    """From how many units go altogether to how many go in each group."""
    group_of = np.repeat(np.arange(len(scores)), list(map(len, scores)))
    order = np.argsort(np.concatenate([np.empty(0), *scores]), kind="stable")
    return lambda gone: np.bincount(group_of[order[:gone]], minlength=len(scores))


def _uniform_order(sizes: np.ndarray) -> Callable[[int], np.ndarray]:
    return lambda gone: sizes * (gone / sizes.sum())


def _fill(
    budget: Budget,
    scores: Sequence[np.ndarray],
    counts: Counts,
    least: Counts,
    steps: np.ndarray,
    goal: float,
) -> Counts:
    """Gives back, one step of a group at a time, what rounding took too much: the best value first."""
    sizes = budget.model.sizes
    # What always stays (infinite) is the same in all options, and tells none from another.
    finite = [np.where(np.isinf(each), 0.0, each) for each in scores]
    ranked = [
        np.cumsum(values[np.argsort(-each, kind="stable")])
        for values, each in zip(finite, scores, strict=True)
    ]

    def worth(options: np.ndarray) -> np.ndarray:
        return sum((sums[options[:, i] - 1] for i, sums in enumerate(ranked)), np.zeros(len(options)))

    now = float(budget.costs(counts[None])[0])
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
        if not options:
            return counts
        tried = np.array(options)
        costs = budget.costs(tried)
        fits = np.flatnonzero((costs > now + 1e-9) & (costs <= goal))
        if not len(fits):
            return counts
        values = worth(tried[fits]) - worth(counts[None])
        gains = values / (costs[fits] - now)
        best = fits[gains.argmax()]
        counts, now = tried[best], float(costs[best])
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
