"""The criterion l2: Euclidean norms."""

import keras
import numpy as np

from pocketkube.graph.dependency import ChannelGraph
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Criterion
from pocketkube.pruning.criteria.normalising import normalise
from pocketkube.pruning.criteria.weight_sums import weight_sums


class L2(Criterion):
    """Euclidean norms of all weights that a unit touches (the group norm of Fang et al., 2023)."""

    name = "l2"

    def scores(
        self, model: keras.Model, graph: ChannelGraph, calibration: Calibration | None
    ) -> np.ndarray:
        """In parts of each group's mean."""
        return normalise(np.sqrt(weight_sums(graph, np.square)), graph)
