"""A network as plain data, which each framework's own network is made of: layers, and their weights.

Needs NumPy alone, and so runs in every peer's environment. Images are `[B, H, W, C]` and kernels as
Keras has them: `[H, W, in, out]`, depthwise ones `[H, W, channels, 1]`, dense ones `[in, out]`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

# By kind of layer its weights' names, in Keras's order; biases may be missing.
WEIGHTS = {
    "conv": ("kernel", "bias"),
    "depthwise": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_norm": ("gamma", "beta", "moving_mean", "moving_variance"),
}
KINDS = (*WEIGHTS, "input", "relu", "add", "zero_padding", "global_average")
_LAYERS = "layers"


@dataclass(frozen=True)
class Layer:
    """One layer; how many channels it has, its weights tell.

    Attributes:
        name: Its name.
        kind: One of KINDS.
        inputs: The layers that it reads.
        shape: Of an input: height, width and channels.
        strides: Of a convolution, in both directions.
        padding: Of a convolution: "same", as TensorFlow pads, or "valid".
        pad: Of a zero_padding: top, bottom, left, right.
        epsilon: Of a batch_norm.
        limit: Of a relu: its largest value.
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    strides: int = 1
    padding: str = "valid"
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    epsilon: float = 0.0
    limit: float | None = None


@dataclass(frozen=True, eq=False)
class PlainNetwork:
    """Layers in the order of computation, the last one's output being the logits, and their weights.

    Attributes:
        layers: The layers.
        weights: Arrays by "layer/weight".
    """

    layers: tuple[Layer, ...]
    weights: Mapping[str, np.ndarray]

    def names_of(self, layer: Layer) -> list[str]:
        """What a layer's weights are called, in Keras's order."""
        names = (f"{layer.name}/{name}" for name in WEIGHTS.get(layer.kind, ()))
        return [name for name in names if name in self.weights]

    def of(self, layer: Layer) -> list[np.ndarray]:
        """A layer's weights in Keras's order."""
        return [self.weights[name] for name in self.names_of(layer)]

    def with_weights(self, weights: Mapping[str, np.ndarray]) -> "PlainNetwork":
        """The same layers, with weights that may have other shapes."""
        return replace(self, weights={**self.weights, **weights})

    def write(self, file: Path) -> None:
        """Writes it as an .npz file."""
        layers = json.dumps([asdict(layer) for layer in self.layers])
        np.savez(file, **{_LAYERS: np.array(layers)}, **self.weights)

    @classmethod
    def read(cls, file: Path) -> "PlainNetwork":
        """Reads what `write` has written."""
        with np.load(file) as found:
            layers = [_layer(each) for each in json.loads(str(found[_LAYERS]))]
            return cls(tuple(layers), {name: found[name] for name in found.files if name != _LAYERS})


def count_macs(network: PlainNetwork) -> int:
    """Multiply-adds of convolutions and dense layers for one image, as PocketKube's profile counts."""
    sizes = sizes_of(network)
    return sum(
        network.of(layer)[0].size * sizes[layer.name][0] * sizes[layer.name][1]
        for layer in network.layers
        if layer.kind in ("conv", "depthwise", "dense")
    )


def sizes_of(network: PlainNetwork) -> dict[str, tuple[int, int]]:
    """Height and width of what comes out of each layer."""
    sizes: dict[str, tuple[int, int]] = {}
    for layer in network.layers:
        before = sizes[layer.inputs[0]] if layer.inputs else (layer.shape[0], layer.shape[1])
        sizes[layer.name] = _size(layer, before, network)
    return sizes


def _size(layer: Layer, before: tuple[int, int], network: PlainNetwork) -> tuple[int, int]:
    height, width = before
    if layer.kind in ("dense", "global_average"):
        return 1, 1
    if layer.kind == "zero_padding":
        top, bottom, left, right = layer.pad
        return height + top + bottom, width + left + right
    if layer.kind not in ("conv", "depthwise"):
        return height, width
    if layer.padding == "same":
        return -(-height // layer.strides), -(-width // layer.strides)
    rows, columns = network.of(layer)[0].shape[:2]
    return (height - rows) // layer.strides + 1, (width - columns) // layer.strides + 1


def same_padding(size: int, kernel: int, strides: int) -> tuple[int, int]:
    """How many zeros TensorFlow's "same" puts before and after."""
    total = max((-(-size // strides) - 1) * strides + kernel - size, 0)
    return total // 2, total - total // 2


def _layer(found: dict[str, Any]) -> Layer:
    return Layer(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    )
