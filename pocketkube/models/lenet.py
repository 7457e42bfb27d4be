"""LeNet-5 (LeCun et al., 1998), with ReLU and max-pooling as it is built today."""

import keras
from keras import layers

from pocketkube.errors import UserError
from pocketkube.models.layer_factory import LayerFactory

SMALLEST_IMAGE = 12


def lenet(factory: LayerFactory, images: keras.KerasTensor) -> keras.KerasTensor:
    """Two convolutions and two Dense layers.

    The first convolution pads where images are smaller than the paper's 32 pixels, so that
    MNIST's 28 x 28 gives the same layers.

    Raises:
        UserError: If the images are smaller than 12 pixels.
    """
    height, width = images.shape[1:3]
    if min(height, width) < SMALLEST_IMAGE:
        raise UserError(
            f"lenet takes images of at least {SMALLEST_IMAGE} x {SMALLEST_IMAGE} pixels. "
            f"Received: {height} x {width}; set the dataset's image_size."
        )
    padding = "same" if min(height, width) < 32 else "valid"
    x = factory.conv_with_bias(images, factory.channels(6), 5, "conv1", padding=padding)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = factory.conv_with_bias(x, factory.channels(16), 5, "conv2", padding="valid")
    # A 12-pixel image leaves 2 x 2 here.
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = factory.dense(x, factory.channels(120), "dense1", "relu")
    return factory.dense(x, factory.channels(84), "dense2", "relu")
