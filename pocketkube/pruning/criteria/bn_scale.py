"""The criterion bn_scale: what BatchNorm multiplies a channel by."""

import keras
import numpy as np

from pocketkube.errors import UserError
from pocketkube.graph.channels import Channels
from pocketkube.graph.dependency import ChannelGraph, Use
from pocketkube.graph.matrices import Side
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Criterion
from pocketkube.pruning.criteria.normalising import normalise


class BatchNormScale(Criterion):
    """Magnitudes of the BatchNorm scales of a unit (Liu et al., Network Slimming, 2017)."""

    name = "bn_scale"

    def scores(
        self, model: keras.Model, graph: ChannelGraph, calibration: Calibration | None
    ) -> np.ndarray:
        """In parts of each group's mean; infinite where a unit has no scale.

        Raises:
            UserError: If the model has no BatchNorm with a scale on channels that may go.
        """
        count = graph.units.count
        sums, seen = np.zeros(count), np.zeros(count)
        for use in graph.uses:
            if isinstance(use.op, keras.layers.BatchNormalization) and (channels := _along(use)):
                side = Side(use.path, use.op.gamma, 0, graph.units.of(channels))
                gamma = np.abs(np.asarray(use.op.gamma))
                sums += side.sums(gamma, count)
                seen += side.sums(np.ones_like(gamma), count)
        if not seen.any():
            raise UserError(
                "The criterion bn_scale needs BatchNormalization layers with a scale, and this model "
                "has none on channels that may go: use l1, l2, fpgm or taylor."
            )
        return normalise(np.where(seen > 0, sums / np.maximum(seen, 1), np.inf), graph)


def _along(use: Use) -> Channels | None:
    """The channels that a BatchNorm has a scale for each of; None where those are of another axis."""
    channels = use.outputs[0]
    if channels is None or not use.op.scale:
        return None
    return channels if use.op.axis in (channels.axis, channels.axis + use.rank) else None
