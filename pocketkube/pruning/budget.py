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
        seen: set[int] = set()
        self._layers = [_LayerCost(graph, use, macs.get(use.path, 0), seen) for use in weighted]
        paths = {use.path for use in weighted}
        self._constant = sum(x.macs for x in profile.layers if x.name not in paths)

    def __call__(self, keep: np.ndarray) -> Cost:
        """The cost with only the units in the mask `keep`."""
        macs, parameters = zip((self._constant, 0), *(cost(keep) for cost in self._layers), strict=True)
        return Cost(float(sum(macs)), sum(parameters))


class _LayerCost:
    """What one layer costs. An answer is kept: a search asks the same again and again."""

    def __init__(self, graph: ChannelGraph, use: Use, macs: float, seen: set[int]) -> None:
        sides = [*use.inputs, *use.outputs, graph.heads(use.op)]
        units = [graph.units.of(channels) for channels in sides if channels is not None]
        around = np.unique(np.concatenate(units)) if units else np.empty(0, int)
        self._around = around[around >= 0]
        self._graph, self._use, self._macs = graph, use, macs
        # What another layer has counted already counts once.
        own = {id(weight) for weight in use.op.weights} - seen
        seen |= own
        self._weights = [
            (_end(weight, use), tuple(weight.shape), id(weight) in own) for weight in use.op.weights
        ]
        self._known: dict[bytes, tuple[float, int]] = {}

    def __call__(self, keep: np.ndarray) -> tuple[float, int]:
        """Multiply-adds and parameters with only the units in the mask `keep`."""
        state = keep[self._around].tobytes()
        if state not in self._known:
            self._known[state] = self._cost(keep)
        return self._known[state]

    def _cost(self, keep: np.ndarray) -> tuple[float, int]:
        cut = cut_layer(self._use, left_of(self._graph, self._use, keep))
        sizes = [(cut.size(end, shape), shape, own) for end, shape, own in self._weights]
        left = sum(size for size, shape, _ in sizes if len(shape) > 1)
        whole = sum(math.prod(shape) for _, shape, _ in sizes if len(shape) > 1)
        # A layer whose weights are vectors alone, or none, multiplies as much as before.
        part = left / whole if whole else 1.0
        return self._macs * part, sum(size for size, _, own in sizes if own)


def _end(weight: object, use: Use) -> str:
    return str(weight.path).removeprefix(f"{use.op.path}/")  # type: ignore[attr-defined]
