"""Which weights multiply channels into others, and which axes of them are output channels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import keras

from pocketkube.errors import UserError
from pocketkube.graph.layer_rules import known_as
from pocketkube.graph.names import named_layers

layers = keras.layers


@dataclass(frozen=True)
class Kernel:
    """A kernel.

    Attributes:
        layer: The name of its layer, as in left/conv.
        owner: The layer.
        variable: The kernel.
        axes: Its axes of output channels.
    """

    layer: str
    owner: Any
    variable: Any
    axes: tuple[int, ...]

    @property
    def path(self) -> str:
        """Its own name, as in left/conv/kernel."""
        return f"{self.layer}/{self.variable.name}"


def kernels_of(model: keras.Model) -> Iterator[Kernel]:
    """The kernels of a model; biases and what normalises have few weights and stay float.

    Args:
        model: The model, built.

    Yields:
        Each kernel; that of a shared layer, or one that several layers share, once.

    Raises:
        UserError: If the model is not built.
    """
    seen: set[int] = set()
    for path, layer in named_layers(model):
        axes_by_name = KERNELS.get(known_as(layer), {})
        if axes_by_name and not layer.built:
            raise UserError(
                f"The model {model.name} has no input shape yet: build it, or add a keras.Input; "
                f"received {path} without weights."
            )
        for name, axes in axes_by_name.items():
            variable = getattr(layer, name)
            if id(variable) in seen:
                continue
            seen.add(id(variable))
            rank = len(variable.shape)
            yield Kernel(path, layer, variable, tuple(axis % rank for axis in axes))


def input_axes(layer: Any) -> dict[int, tuple[int, ...]]:
    """The axes of input channels of a layer's kernels: those that one output channel adds up.

    Args:
        layer: A layer that is built.

    Returns:
        By the id of each kernel, those of its inner layers included; none for a kernel whose axes are
        as those of most, the last but one alone.
    """
    found: dict[int, tuple[int, ...]] = {}
    for _, one in (("", layer), *named_layers(layer)):
        kind = known_as(one)
        if not one.built:
            continue
        if kind is layers.EinsumDense:
            terms, out = one.equation.split("->")
            letters = terms.split(",")[1].strip()
            found[id(one.kernel)] = tuple(n for n, letter in enumerate(letters) if letter not in out)
        elif KERNELS.get(kind) is TRANSPOSED:
            found[id(one.kernel)] = (-1,)
    return found


def frozen_kernels(model: keras.Model) -> list[Kernel]:
    """The kernels that training leaves as they are, as those of layers with `trainable=False`."""
    trained = {id(variable) for variable in model.trainable_variables}
    return [kernel for kernel in kernels_of(model) if id(kernel.variable) not in trained]


def layers_without_kernels(model: keras.Model) -> list[str]:
    """Names of the layers whose own weights multiply, but are of no kind that `kernels_of` knows."""
    known = {id(kernel.variable) for kernel in kernels_of(model)}
    return [
        name
        for name, layer in named_layers(model)
        if any(
            len(weight.shape) > 1 and weight.name not in BY_CHANNEL and id(weight) not in known
            for weight in layer._trainable_variables
        )
    ]


# Weights of several axes that each stand for themselves, as those of attention heads and of PReLU.
BY_CHANNEL = ("bias", "alpha")
DENSE: Mapping[str, tuple[int, ...]] = MappingProxyType({"kernel": (-1,)})
TRANSPOSED: Mapping[str, tuple[int, ...]] = MappingProxyType({"kernel": (-2,)})
DEPTHWISE: Mapping[str, tuple[int, ...]] = MappingProxyType({"kernel": (-2, -1)})
SEPARABLE: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"depthwise_kernel": (-2, -1), "pointwise_kernel": (-1,)}
)
KERNELS: dict[type, Mapping[str, tuple[int, ...]]] = {
    **dict.fromkeys((layers.Dense, layers.EinsumDense), DENSE),
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), DENSE),
    **dict.fromkeys(
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), TRANSPOSED
    ),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), DEPTHWISE),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), SEPARABLE),
}
