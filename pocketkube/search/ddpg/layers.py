"""What a walk through the network knows of each parameter in advance, as numbers of about 0 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocketkube.graph.cost_model import SizedCall
from pocketkube.search.problem import Problem

_DECIDES = ("kept", "sparsity", "bits")
_KINDS = ("Conv", "Depthwise", "Dense")
# A parameter's place as waves, so that neighbours can be told apart: of 1, 2, 4 … half-turns in all.
_WAVES = 6


def layer_facts(problem: Problem) -> np.ndarray:
    """Index, what is decided, kind, kernel, stride, channels in and out, weights and multiply-adds.

    Returns:
        A row for each parameter, `[parameters, facts]`.
    """
    groups = {group.name: group.layers for group in problem.network.groups}
    sizes = _sizes(problem)
    weights = sum(each.weights for each in sizes.values())
    macs = sum(each.macs for each in sizes.values())
    rows = []
    for number, parameter in enumerate(problem.space.parameters):
        paths = [path for target in parameter.targets for path in groups.get(target, (target,))]
        layers = [sizes[path] for path in paths if path in sizes]
        place = number / max(len(problem.space.parameters) - 1, 1)
        rows.append(
            [
                place,
                *np.sin(np.pi * place * 2.0 ** np.arange(_WAVES)),
                *(float(parameter.decides == each) for each in _DECIDES),
                *(float(any(kind in layer.kind for layer in layers)) for kind in _KINDS),
                max((layer.kernel for layer in layers), default=1) / 7,
                max((layer.stride for layer in layers), default=1) / 2,
                np.log2(layers[0].channels_in if layers else 1) / 10,
                np.log2(layers[0].channels_out if layers else 1) / 10,
                _log(sum(layer.weights for layer in layers) / max(weights, 1.0)),
                _log(sum(layer.macs for layer in layers) / max(macs, 1.0)),
            ]
        )
    return np.array(rows, float)


@dataclass(frozen=True)
class _Size:
    kind: str
    kernel: int
    stride: int
    channels_in: int
    channels_out: int
    weights: float
    macs: float


def _sizes(problem: Problem) -> dict[str, _Size]:
    """The sizes of each layer of the whole network, by its path."""
    network = problem.network
    numbers = iter(network.weight_sizes(network.sizes[None])[0])
    weights = {layer.name: float(sum(next(numbers) for _ in layer.weights)) for layer in network.layers}
    calls: dict[str, list[SizedCall]] = {}
    for call in network.sized({}):
        calls.setdefault(call.layer.name, []).append(call)
    return {
        name: _Size(
            kind=each[0].layer.kind,
            kernel=max(each[0].layer.kernel_size, default=1),
            stride=max(each[0].layer.strides, default=1),
            channels_in=_channels(each[0].inputs),
            channels_out=_channels(each[0].outputs),
            weights=weights[name],
            macs=sum(call.macs for call in each),
        )
        for name, each in calls.items()
    }


def _channels(shapes: Sequence[tuple[int, ...]]) -> int:
    return max((shape[-1] for shape in shapes if shape), default=1)


def _log(share: float) -> float:
    """A share on a scale where a ten-thousandth is 0 and all is 1."""
    return float(np.clip(1 + np.log10(max(share, 1e-9)) / 4, 0.0, 1.0))
