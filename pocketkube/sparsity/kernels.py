"""Which weights of a model are sparsified: those that multiply many channels into many."""

from collections.abc import Iterator
from typing import Any

import keras

layers = keras.layers


def kernels(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """The kernels that may hold zeros.

    A depthwise kernel has few weights and each of them counts; it stays as it is, and so do biases
    and what normalises.

    Args:
        model: The model, built.

    Yields:
        The path of a layer and its kernel; a shared layer comes once.
    """
    for layer in model._flatten_layers(include_self=False):
        name = KERNELS.get(type(layer))
        if name is not None:
            yield layer.path, getattr(layer, name)


KERNELS: dict[type, str] = {
    layers.Dense: "kernel",
    layers.EinsumDense: "kernel",
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), "kernel"),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), "kernel"),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), "pointwise_kernel"),
}
