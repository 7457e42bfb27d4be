"""Residual networks (He et al., 2015): the CIFAR form and the ImageNet form."""

from typing import Protocol

import keras
from keras import layers

from pocketkube.models.layer_factory import LayerFactory


class Block(Protocol):
    """A residual block: its output has `channels` times the block's expansion."""

    def __call__(
        self, factory: LayerFactory, x: keras.KerasTensor, channels: int, strides: int, name: str
    ) -> keras.KerasTensor:
        """Adds the block after `x`."""


def cifar_resnet(factory: LayerFactory, images: keras.KerasTensor, depth: int) -> keras.KerasTensor:
    """The CIFAR form: 6n+2 layers, three stages of 16, 32 and 64 channels.

    Where the stages change, the shortcut is a 1x1 convolution (the paper's option B).
    """
    per_stage = (depth - 2) // 6
    x = factory.conv(images, factory.channels(16), 3, "stem")
    x = _stages(factory, x, (16, 32, 64), (per_stage,) * 3, plain_block)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def resnet(
    factory: LayerFactory, images: keras.KerasTensor, stages: tuple[int, ...], block: Block
) -> keras.KerasTensor:
    """The ImageNet form: four stages from 64 channels; see `build_model` for small images."""
    if factory.small_input:
        x = factory.conv(images, factory.channels(64), 3, "stem")
    else:
        x = factory.conv(images, factory.channels(64), 7, "stem", strides=2)
        x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    x = _stages(factory, x, (64, 128, 256, 512), stages, block)
    return layers.GlobalAveragePooling2D(name="pool")(x)


def plain_block(
    factory: LayerFactory, x: keras.KerasTensor, channels: int, strides: int, name: str
) -> keras.KerasTensor:
    """Two 3x3 convolutions."""
    y = factory.conv(x, channels, 3, f"{name}_a", strides=strides)
    y = factory.conv(y, channels, 3, f"{name}_b", activation=None)
    return _joined(factory, x, y, strides, name)


def bottleneck_block(
    factory: LayerFactory, x: keras.KerasTensor, channels: int, strides: int, name: str
) -> keras.KerasTensor:
    """1x1, 3x3 and 1x1 to four times the channels; the stride is the 3x3's, as is usual today.

    At first the block is its shortcut alone, which large batches need (Goyal et al., 2017).
    """
    y = factory.conv(x, channels, 1, f"{name}_a")
    y = factory.conv(y, channels, 3, f"{name}_b", strides=strides)
    y = factory.conv(y, 4 * channels, 1, f"{name}_c", activation=None, starts_as_zero=True)
    return _joined(factory, x, y, strides, name)


def _stages(
    factory: LayerFactory,
    x: keras.KerasTensor,
    widths: tuple[int, ...],
    counts: tuple[int, ...],
    block: Block,
) -> keras.KerasTensor:
    for stage, (width, count) in enumerate(zip(widths, counts, strict=True), start=1):
        for position in range(1, count + 1):
            strides = 2 if stage > 1 and position == 1 else 1
            x = block(factory, x, factory.channels(width), strides, f"stage{stage}_block{position}")
    return x


def _joined(
    factory: LayerFactory, x: keras.KerasTensor, y: keras.KerasTensor, strides: int, name: str
) -> keras.KerasTensor:
    """Adds the shortcut, projected where the shapes differ."""
    if strides != 1 or x.shape[-1] != y.shape[-1]:
        x = factory.conv(x, y.shape[-1], 1, f"{name}_shortcut", strides=strides, activation=None)
    x = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu")(x)
