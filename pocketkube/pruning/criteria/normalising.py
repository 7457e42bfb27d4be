"""Makes scores of different groups comparable."""

import numpy as np

from pocketkube.graph.dependency import ChannelGraph


def normalise(scores: np.ndarray, graph: ChannelGraph) -> np.ndarray:
    """Scores in parts of their group's mean, as DepGraph does (Fang et al., 2023), `[units]`."""
    result = scores.copy()
    for group in graph.groups:
        mean = scores[group.units].mean()
        if mean > 0 and np.isfinite(mean):
            result[group.units] /= mean
    return result
