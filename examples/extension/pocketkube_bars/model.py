"""A network: three convolutions, each with factors for its channels."""

import keras
from keras import layers

from pocketkube.data import Dataset
from pocketkube_bars.layer import ChannelScale


def bar_net(dataset: Dataset, *, width: float, seed: int) -> keras.Model:
    """A small network of one image to as many values as a label has."""
    x = images = keras.Input(dataset.input_shapes[0], name="images")
    for number, filters in enumerate((16, 16, 32), start=1):
        start = keras.initializers.HeNormal(seed + number)
        count = max(1, round(filters * width))
        x = layers.Conv2D(
            count, 3, 2, "same", use_bias=False, kernel_initializer=start, name=f"conv{number}"
        )(x)
        x = ChannelScale(name=f"scale{number}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    values = dataset.labels[0].shape
    assert values is not None
    start = keras.initializers.HeNormal(seed)
    outputs = layers.Dense(values[0], kernel_initializer=start, name="values")(x)
    return keras.Model(images, outputs, name="bar_net")
