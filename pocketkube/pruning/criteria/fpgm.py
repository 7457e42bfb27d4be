"""The criterion fpgm: how far a filter is from the others of its layer."""

import keras
import numpy as np

from pocketkube.graph.dependency import ChannelGraph
from pocketkube.graph.matrices import inner_consumers, makers
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Criterion
from pocketkube.pruning.criteria.normalising import normalise


class GeometricMedian(Criterion):
    """Sums of distances to the layer's other filters (FPGM, He et al., 2019): the median goes first."""

    name = "fpgm"

    def scores(
        self, model: keras.Model, graph: ChannelGraph, calibration: Calibration | None
    ) -> np.ndarray:
        """In parts of each group's mean."""
        count = graph.units.count
        scores = np.zeros(count)
        for side in (*makers(graph), *inner_consumers(graph)):
            filters = np.moveaxis(np.asarray(side.weight, np.float64), side.axis, 0)
            # What a recurrent unit has in all gates is one filter.
            filters = np.moveaxis(filters.reshape(side.gates, -1, *filters.shape[1:]), 1, 0)
            filters = filters.reshape(len(filters), -1)
            squares = (filters**2).sum(axis=1)
            gaps = squares[:, None] + squares[None, :] - 2 * filters @ filters.T
            distances = np.sqrt(np.maximum(gaps, 0.0)).sum(axis=1)
            units = side.units[: len(filters)]
            known = units >= 0
            scores += np.bincount(units[known], distances[known], count)
        return normalise(scores, graph)
