"""Builds a reference network from its name."""

from collections.abc import Callable
from functools import partial

import keras

from pocketkube.errors import UserError
from pocketkube.models.layer_factory import LayerFactory
from pocketkube.models.lenet import lenet
from pocketkube.models.mobilenet import mobilenet_v1, mobilenet_v2
from pocketkube.models.resnet import bottleneck_block, cifar_resnet, plain_block, resnet

_NETWORKS: dict[str, Callable[[LayerFactory, keras.KerasTensor], keras.KerasTensor]] = {
    "lenet": lenet,
    "resnet20": partial(cifar_resnet, depth=20),
    "resnet32": partial(cifar_resnet, depth=32),
    "resnet44": partial(cifar_resnet, depth=44),
    "resnet56": partial(cifar_resnet, depth=56),
    "resnet18": partial(resnet, stages=(2, 2, 2, 2), block=plain_block),
    "resnet50": partial(resnet, stages=(3, 4, 6, 3), block=bottleneck_block),
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
}


def build_model(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds a reference network with fresh weights.

    All are functional models of ordinary layers, with He-normal kernels (He et al., 2015), and end
    in a linear Dense layer named "logits". On images of up to 64 pixels the networks made for
    ImageNet take a small-input stem: `resnet18` and `resnet50` a 3x3 convolution of stride 1
    instead of the 7x7 of stride 2 with its max-pooling, the MobileNets stride 1 instead of 2 in
    their first two strided convolutions (32 x 32 ends as 4 x 4, not as 1 x 1).

    Args:
        name: One of `names.MODEL_NAMES`.
        input_shape: Height, width and channels of an image.
        num_classes: Number of logits.
        width: What every layer's number of channels is multiplied by.
        seed: The weights follow from it.

    Returns:
        The model, of images `[B, H, W, C]` to logits `[B, num_classes]`.

    Raises:
        UserError: If there is no such network, or it cannot take such inputs.
    """
    if name not in _NETWORKS:
        raise UserError(
            f"There is no network {name!r} of images: give one of {', '.join(_NETWORKS)}; others that "
            "a spec names are made by a job."
        )
    if len(input_shape) != 3 or any(not size or size < 1 for size in input_shape):
        raise UserError(
            f"{name} takes images of shape (height, width, channels). Received: {input_shape}."
        )
    if num_classes < 1:
        raise UserError(f"{name} needs at least one class. Received: {num_classes}.")
    if width <= 0:
        raise UserError(f"{name}'s width must be above 0. Received: {width}.")
    images = keras.Input(input_shape, name="images")
    factory = LayerFactory(width, seed, small_input=max(input_shape[:2]) <= 64)
    features = _NETWORKS[name](factory, images)
    logits = factory.dense(features, num_classes, "logits")
    return keras.Model(images, logits, name=name)
