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
        weighted = [use for use in graph.uses if getattr(use.op, "weights", None)]
        self._layers = [_LayerCost(graph, use, macs.get(use.path, 0)) for use in weighted]
        paths = {use.path for use in weighted}
        self._constant = sum(x.macs for x in profile.layers if x.name not in paths)

    def __call__(self, keep: np.ndarray) -> Cost:
        """The cost with only the units in the mask `keep`."""
        macs, parameters = zip((self._constant, 0), *(cost(keep) for cost in self._layers), strict=True)
        return Cost(float(sum(macs)), sum(parameters))


class _LayerCost:
    """What one layer costs. An answer is kept: a search asks the same again and again."""

    def __init__(self, graph: ChannelGraph, use: Use, macs: float) -> None:
        sides = [*use.inputs, *use.outputs, graph.heads(use.op)]
        units = [graph.units.of(channels) for channels in sides if channels is not None]
        around = np.unique(np.concatenate(units)) if units else np.empty(0, int)
        self._around = around[around >= 0]
        self._graph, self._use, self._macs = graph, use, macs
        self._weights = [(_end(weight, use), tuple(weight.shape)) for weight in use.op.weights]
        self._known: dict[bytes, tuple[float, int]] = {}

    def __call__(self, keep: np.ndarray) -> tuple[float, int]:
        """Multiply-adds and parameters with only the units in the mask `keep`."""
        state = keep[self._around].tobytes()
        if state not in self._known:
            self._known[state] = self._cost(keep)
        return self._known[state]

    def _cost(self, keep: np.ndarray) -> tuple[float, int]:
        cut = cut_layer(self._use, left_of(self._graph, self._use, keep))
        sizes = [cut.size(end, shape) for end, shape in self._weights]
        left = sum(s for s, (_, shape) in zip(sizes, self._weights, strict=True) if len(shape) > 1)
        whole = sum(math.prod(shape) for _, shape in self._weights if len(shape) > 1)
        return self._macs * left / max(whole, 1), sum(sizes)


def _end(weight: object, use: Use) -> str:
    return str(weight.path).removeprefix(f"{use.op.path}/")  # type: ignore[attr-defined]
