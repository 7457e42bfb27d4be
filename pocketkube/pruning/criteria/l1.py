"""The criterion l1: sums of magnitudes."""

import keras
import numpy as np

from pocketkube.graph.dependency import ChannelGraph
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Criterion
from pocketkube.pruning.criteria.normalising import normalise
from pocketkube.pruning.criteria.weight_sums import weight_sums


class L1(Criterion):
    """Sums of magnitudes of all weights that a unit touches (Li et al., 2017; over all members)."""

    name = "l1"

    def scores(
        self, model: keras.Model, graph: ChannelGraph, calibration: Calibration | None
    ) -> np.ndarray:
        """In parts of each group's mean."""
        return normalise(weight_sums(graph, np.abs), graph)
