"""In which order a group's units are kept, so that every layer has a channel at any count."""

from collections.abc import Sequence

import numpy as np

from pocketkube.graph.dependency import ChannelGraph


def rank_units(graph: ChannelGraph, scores: np.ndarray) -> list[np.ndarray]:
    """The units of each group, the best first; before them those without which a layer is empty.

    Args:
        graph: The channel graph.
        scores: Each unit's score, `[units]`.
    """
    needed = needed_units(graph, scores)
    # A stable sort: ties go the same way on every machine.
    orders = (np.lexsort((-scores[g.units], ~needed[g.units])) for g in graph.groups)
    return [group.units[order] for group, order in zip(graph.groups, orders, strict=True)]


def keep_best(ranking: Sequence[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """The mask of the first `counts` units of each group's ranking, `[units]`."""
    keep = np.zeros(sum(map(len, ranking)), bool)
    for units, count in zip(ranking, counts, strict=True):
        keep[units[: int(count)]] = True
    return keep


def needed_units(graph: ChannelGraph, scores: np.ndarray) -> np.ndarray:
    """A mask of units that leaves every layer at least one channel: the best of each.

    A group can hold the channels of several layers that are no others' partners, where a residual
    connection adds to a concatenation, and a slice has some of a layer's.
    """
    needed = np.zeros(graph.units.count, bool)
    outputs = (channels for use in graph.uses for call in use.calls for channels in call.outputs)
    for channels in outputs:
        made = graph.units.of(channels) if channels is not None else np.empty(0, int)
        if len(made) and (made >= 0).all() and not needed[made].any():
            needed[made[scores[made].argmax()]] = True
    return needed
