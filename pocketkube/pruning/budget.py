"""What a model would cost with only some of its units, without building it."""

import math
from dataclasses import dataclass

import numpy as np

from pocketkube.graph.cost import Profile
from pocketkube.graph.cuts import cut_layer, left_of
from pocketkube.graph.dependency import ChannelGraph, Use


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Attributes:
        macs: Multiply-adds.
        parameters: Numbers in all weights.
    """

    macs: float
    parameters: float


class CostEstimate:
    """Estimates the cost that is left with only some units.

    A layer's multiply-adds shrink as its kernels do: exact for convolutions and dense layers, close
    for attention, whose scores shrink with the heads alone.
    """

    def __init__(self, graph: ChannelGraph, profile: Profile) -> None:
        macs = {layer.name: layer.macs for layer in profile.layers}
        self._graph = graph
        self._weighted = [
            (use, macs.get(use.path, 0), [(_end(w, use), tuple(w.shape)) for w in use.op.weights])
            for use in graph.uses
            if getattr(use.op, "weights", None)
        ]
        weighted = {use.path for use, _, _ in self._weighted}
        self._constant = sum(x.macs for x in profile.layers if x.name not in weighted)

    def __call__(self, keep: np.ndarray) -> Cost:
        """The cost with only the units in the mask `keep`."""
        macs, parameters = float(self._constant), 0
        for use, full, weights in self._weighted:
            cut = cut_layer(use, left_of(self._graph, use, keep))
            sizes = [cut.size(end, shape) for end, shape in weights]
            parameters += sum(sizes)
            if full:
                left = sum(s for s, (_, shape) in zip(sizes, weights, strict=True) if len(shape) > 1)
                whole = sum(math.prod(shape) for _, shape in weights if len(shape) > 1)
                macs += full * left / max(whole, 1)
        return Cost(macs, parameters)


def _end(weight: object, use: Use) -> str:
    return str(weight.path).removeprefix(f"{use.op.path}/")  # type: ignore[attr-defined]
