"""MobileNet (Howard et al., 2017) and MobileNetV2 (Sandler et al., 2018).

Strided convolutions are padded evenly: XNNPACK's sparse kernels take nothing else.
"""

import keras
from keras import layers

from pocketkube.models.layer_factory import LayerFactory

# Output channels and stride of each depthwise-separable convolution of version 1.
_SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)
# Expansion, output channels, repeats and first stride of each stage of version 2: its table 2.
_INVERTED = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v1(factory: LayerFactory, images: keras.KerasTensor) -> keras.KerasTensor:
    """13 depthwise-separable convolutions; see `build_model` for small images."""
    undone = 2 if factory.small_input else 0
    strides, undone = _stride(2, undone)
    x = _stem(factory, images, strides)
    for number, (filters, wanted) in enumerate(_SEPARABLE, start=1):
        strides, undone = _stride(wanted, undone)
        x = factory.depthwise(x, f"block{number}_a", strides=strides)
        x = factory.conv(x, factory.channels_by_8(filters), 1, f"block{number}_b", activation="relu6")
    return layers.GlobalAveragePooling2D(name="pool")(x)


def mobilenet_v2(factory: LayerFactory, images: keras.KerasTensor) -> keras.KerasTensor:
    """17 inverted residual blocks; see `build_model` for small images.

    The last convolution's 1280 channels grow with the width but never shrink, as in the paper.
    """
    undone = 2 if factory.small_input else 0
    strides, undone = _stride(2, undone)
    x = _stem(factory, images, strides)
    number = 0
    for expansion, filters, repeats, first in _INVERTED:
        strides, undone = _stride(first, undone)
        for repeat in range(repeats):
            number += 1
            x = _inverted_residual(
                factory,
                x,
                expansion,
                factory.channels_by_8(filters),
                strides if repeat == 0 else 1,
                f"block{number}",
            )
    last = factory.channels_by_8(1280) if factory.width > 1 else 1280
    x = factory.conv(x, last, 1, "head", activation="relu6")
    return layers.GlobalAveragePooling2D(name="pool")(x)


def _stem(factory: LayerFactory, images: keras.KerasTensor, strides: int) -> keras.KerasTensor:
    return factory.conv(
        images,
        factory.channels_by_8(32),
        3,
        "stem",
        strides=strides,
        activation="relu6",
        even_padding=True,
    )


def _inverted_residual(
    factory: LayerFactory, x: keras.KerasTensor, expansion: int, filters: int, strides: int, name: str
) -> keras.KerasTensor:
    y = x
    if expansion > 1:
        y = factory.conv(y, expansion * x.shape[-1], 1, f"{name}_expand", activation="relu6")
    y = factory.depthwise(y, f"{name}_spatial", strides=strides)
    y = factory.conv(y, filters, 1, f"{name}_project", activation=None)
    if strides == 1 and x.shape[-1] == filters:
        y = layers.Add(name=f"{name}_add")([x, y])
    return y


def _stride(wanted: int, undone: int) -> tuple[int, int]:
    """The stride to use, and how many strides are still to be undone after it."""
    return (1, undone - 1) if wanted > 1 and undone else (wanted, undone)
