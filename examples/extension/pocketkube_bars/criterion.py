"""A criterion: the largest weight of a channel speaks for all of them."""

import keras
import numpy as np

from pocketkube.graph.dependency import ChannelGraph
from pocketkube.graph.matrices import makers
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Criterion
from pocketkube.pruning.criteria.normalising import normalise


class LargestWeight(Criterion):
    """The largest magnitude among the weights that make a channel: the norm L-infinity."""

    name = "largest_weight"

    def scores(
        self, model: keras.Model, graph: ChannelGraph, calibration: Calibration | None
    ) -> np.ndarray:
        """In parts of each group's mean, `[units]`."""
        largest = np.zeros(graph.units.count)
        for side in makers(graph):
            rows = np.moveaxis(np.abs(np.asarray(side.weight, np.float64)), side.axis, 0)
            known = side.units >= 0
            np.maximum.at(largest, side.units[known], rows.reshape(len(rows), -1).max(axis=1)[known])
        return normalise(largest, graph)
