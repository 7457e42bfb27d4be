"""Plain networks as PyTorch modules, and back: images are `[B, C, H, W]`, kernels `[out, in, H, W]`."""

from typing import Any

import numpy as np
import torch
from torch import nn

from tests.benchmarks.peers.plain_network import Layer, PlainNetwork, same_padding, sizes_of

_TO_TORCH = {"conv": (3, 2, 0, 1), "depthwise": (2, 3, 0, 1), "dense": (1, 0)}
_TO_KERAS = {"conv": (2, 3, 1, 0), "depthwise": (2, 3, 0, 1), "dense": (1, 0)}


class TorchNetwork(nn.Module):
    """A network whose modules bear the layers' names."""

    def __init__(self, network: PlainNetwork) -> None:
        super().__init__()
        self.steps = [layer for layer in network.layers if layer.kind != "input"]
        self.source = next(layer.name for layer in network.layers if layer.kind == "input")
        sizes = sizes_of(network)
        for layer in self.steps:
            if layer.kind != "add":
                self.add_module(layer.name, _module(layer, network, sizes[layer.inputs[0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From images to logits."""
        values = {self.source: x}
        for layer in self.steps:
            inputs = [values[name] for name in layer.inputs]
            if layer.kind == "add":
                values[layer.name] = inputs[0] + inputs[1]
            else:
                values[layer.name] = getattr(self, layer.name)(inputs[0])
        return values[self.steps[-1].name]


def built(network: PlainNetwork) -> TorchNetwork:
    """The network as a module that is not being trained."""
    module = TorchNetwork(network)
    with torch.no_grad():
        for layer in network.layers:
            for into, array in zip(_tensors(module, layer), network.of(layer), strict=True):
                into.copy_(torch.from_numpy(np.ascontiguousarray(_turned(array, layer, _TO_TORCH))))
    return module.eval()


def weights_of(network: PlainNetwork, module: Any) -> PlainNetwork:
    """The same layers with the weights that a module has now, however many channels it has left."""
    weights = {
        name: _turned(tensor.detach().cpu().numpy(), layer, _TO_KERAS)
        for layer in network.layers
        for name, tensor in zip(network.names_of(layer), _tensors(module, layer), strict=True)
    }
    return network.with_weights(weights)


def images_of(images: np.ndarray) -> torch.Tensor:
    """Images `[B, H, W, C]` as PyTorch takes them."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def outputs_of(module: nn.Module, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """Logits of images `[B, H, W, C]`, `batch` at a time."""
    module.eval()
    parts = (images[at : at + batch] for at in range(0, len(images), batch))
    with torch.no_grad():
        return np.concatenate([module(images_of(part)).numpy() for part in parts])


def _module(layer: Layer, network: PlainNetwork, size: tuple[int, int]) -> nn.Module:
    weights = network.of(layer)
    match layer.kind:
        case "conv" | "depthwise":
            return _convolution(layer, weights, size)
        case "dense":
            return nn.Linear(*weights[0].shape, bias=len(weights) > 1)
        case "batch_norm":
            return nn.BatchNorm2d(len(weights[0]), eps=layer.epsilon)
        case "relu":
            if layer.limit == 6:
                return nn.ReLU6()
            return nn.ReLU() if layer.limit is None else nn.Hardtanh(0.0, layer.limit)
        case "zero_padding":
            top, bottom, left, right = layer.pad
            return nn.ZeroPad2d((left, right, top, bottom))
        case _:
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _convolution(layer: Layer, weights: list[np.ndarray], size: tuple[int, int]) -> nn.Module:
    rows, columns, before, after = weights[0].shape
    groups = before if layer.kind == "depthwise" else 1
    after = before if layer.kind == "depthwise" else after
    pads = [(0, 0), (0, 0)]
    if layer.padding == "same":
        pads = [same_padding(s, k, layer.strides) for s, k in zip(size, (rows, columns), strict=True)]
    is_even = all(first == last for first, last in pads)
    padding = (pads[0][0], pads[1][0]) if is_even else 0
    conv = nn.Conv2d(
        before, after, (rows, columns), layer.strides, padding, groups=groups, bias=len(weights) > 1
    )
    # TensorFlow may pad more after than before, which is a module of its own.
    return conv if is_even else nn.Sequential(nn.ZeroPad2d((*pads[1], *pads[0])), conv)


def _tensors(module: nn.Module, layer: Layer) -> list[torch.Tensor]:
    """A layer's weights in Keras's order."""
    if layer.kind in ("input", "add", "relu", "zero_padding", "global_average"):
        return []
    own = getattr(module, layer.name)
    own = own[1] if isinstance(own, nn.Sequential) else own
    found = [own.weight, own.bias]
    if layer.kind == "batch_norm":
        found += [own.running_mean, own.running_var]
    return [tensor for tensor in found if tensor is not None]


def _turned(array: np.ndarray, layer: Layer, axes: dict[str, tuple[int, ...]]) -> np.ndarray:
    return array.transpose(axes[layer.kind]) if array.ndim > 1 else array
