"""Finds which channels of a network the operations of its LiteRT file have, from files of prunings."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pocketkube.errors import UserError
from pocketkube.graph.cost_model import CostModel, Extent
from pocketkube.latency_table.budget import Length, NetworkOperation
from pocketkube.latency_table.operations import SizedOperation

# Prunings of random counts tell all axes of a network apart, as a rule.
FEWEST_PRUNINGS, MOST_PRUNINGS = 3, 6
_TRIES = 20
# Of its units a group keeps at least about so many in a pruning.
_LEAST_PART = 0.25


def telling_assignments(costs: CostModel, seed: int) -> list[dict[str, int]]:
    """Assignments under which no two axes of a network that differ have proportional lengths.

    Args:
        costs: The network.
        seed: The assignments follow from it.

    Returns:
        All channels first, then prunings of random counts, about as many as are needed.
    """
    rng = np.random.default_rng(seed)
    axes = list(_axes(costs))
    rows = [costs.sizes]
    for prunings in range(FEWEST_PRUNINGS, MOST_PRUNINGS + 1):
        for _ in range(_TRIES):
            rows = [costs.sizes, *(_random_counts(costs, rng) for _ in range(prunings))]
            if len(_by_proportion(costs, axes, np.stack(rows))) == len(axes):
                return [costs.assignment(row) for row in rows]
    return [costs.assignment(row) for row in rows]


def follow(
    costs: CostModel, seen: Sequence[tuple[Mapping[str, int], Sequence[SizedOperation]]]
) -> tuple[NetworkOperation, ...]:
    """The operations of a network's file at any assignment, from what was seen at some.

    What a converter makes of a layer is not foreseen but seen: a length in the files is that axis of
    the network's which is in proportion to it under all assignments.

    Args:
        costs: The network.
        seen: The assignments, as `telling_assignments` gives them, each with its file's operations.

    Raises:
        UserError: If the files consist of other operations each, or a length is that of no axis.
    """
    kinds = {tuple(each.kind for each in operations) for _, operations in seen}
    if len(kinds) > 1:
        raise UserError(
            f"{costs.network}: its LiteRT file consists of other operations where channels are cut."
        )
    rows = np.stack([costs.counts(assignment) for assignment, _ in seen])
    known = _by_proportion(costs, list(_axes(costs)), rows)

    def length(kind: str, lengths: tuple[int, ...]) -> Length:
        if len(set(lengths)) == 1:
            return Length(lengths[0], None)
        for axis, base in known.get(_proportion(lengths), []):
            if lengths[0] % base == 0:
                return Length(lengths[0] // base, axis)
        raise UserError(
            f"{costs.network}: which channels its LiteRT file's operation {kind} has cannot be told."
        )

    return tuple(
        NetworkOperation(
            same[0].kind,
            tuple(
                tuple(length(same[0].kind, part) for part in zip(*of_axis, strict=True))
                for of_axis in zip(*(each.lengths for each in same), strict=True)
            ),
        )
        for same in zip(*(operations for _, operations in seen), strict=True)
    )


def _axes(costs: CostModel) -> Iterator[Extent]:
    """Every axis whose length changes, once."""
    seen = set()
    for layer in costs.layers:
        shapes = [*(weight.shape for weight in layer.weights)]
        for call in layer.calls:
            shapes += [*call.inputs, *call.outputs]
        for axis in (axis for shape in shapes for axis in shape):
            key = (axis.fixed, *sorted(axis.per_unit.items()))
            if axis.per_unit and key not in seen:
                seen.add(key)
                yield axis


def _by_proportion(
    costs: CostModel, axes: Sequence[Extent], rows: np.ndarray
) -> dict[tuple[float, ...], list[tuple[Extent, int]]]:
    """The axes, each with its length when all channels are there, by the proportions of lengths."""
    found: dict[tuple[float, ...], list[tuple[Extent, int]]] = {}
    for axis, lengths in zip(axes, costs.lengths(axes, rows).T, strict=True):
        found.setdefault(_proportion(lengths), []).append((axis, int(lengths[0])))
    return found


def _proportion(lengths: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(np.round(np.asarray(lengths, float) / lengths[0], 9))


def _random_counts(costs: CostModel, rng: np.random.Generator) -> np.ndarray:
    counts = []
    for group in costs.groups:
        least = max(group.least, int(np.ceil(_LEAST_PART * group.size)))
        choices = [*range(-(-least // group.step) * group.step, group.size, group.step), group.size]
        counts.append(int(rng.choice(choices)))
    return np.array(counts)
