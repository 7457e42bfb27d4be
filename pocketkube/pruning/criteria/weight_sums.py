"""Sums up the weights that each unit touches: those that make it and those that read it."""

from collections.abc import Callable

import numpy as np

from pocketkube.graph.dependency import ChannelGraph
from pocketkube.graph.matrices import consumers, inner_consumers, makers


def weight_sums(graph: ChannelGraph, value: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """For each unit the sum of `value` over all weights that it touches, `[units]`."""
    sides = (*makers(graph), *consumers(graph), *inner_consumers(graph))
    count = graph.units.count
    totals = [side.sums(value(np.asarray(side.weight, np.float64)), count) for side in sides]
    return np.sum(totals, axis=0) if totals else np.zeros(count)
