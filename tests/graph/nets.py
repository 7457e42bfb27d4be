"""Small networks that between them join channels in every way the graph knows."""

from collections.abc import Callable

import keras
from keras import layers


def residual() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="bn")(x)
    y = layers.ReLU()(x)
    y = layers.Conv2D(12, 3, padding="same", name="inner")(y)
    y = layers.PReLU(shared_axes=[1, 2], name="prelu")(y)
    y = layers.Conv2D(8, 3, padding="same", name="last")(y)
    x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="residual")


def dense_blocks() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", name="one")(x)
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="two")(x)
    x = layers.Concatenate()([x, y])
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Conv2D(10, 3, strides=2, name="three")(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="dense_blocks")


def squeeze_and_excite() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="expand")(x)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.BatchNormalization(name="bn")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu", name="squeeze")(gate)
    gate = layers.Conv2D(16, 1, activation="sigmoid", name="excite")(gate)
    x = layers.Multiply()([x, gate])
    x = layers.SeparableConv2D(10, 3, name="project")(x)
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="squeeze_and_excite")


def grouped() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="one")(x)
    x = layers.Conv2D(12, 3, groups=2, padding="same", name="few_groups")(x)
    x = layers.Conv2D(24, 3, groups=6, padding="same", name="many_groups")(x)
    x = layers.GroupNormalization(4, name="norm")(x)
    x = layers.Conv2DTranspose(6, 2, strides=2, name="up")(x)
    one, other = keras.ops.split(x, 2, axis=-1)
    x = layers.Multiply()([one, other])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="grouped")


def transformer() -> keras.Model:
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 8, name="embedding")(inputs)
    y = layers.LayerNormalization(name="norm1")(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 3, name="attention")(y, y)])
    y = layers.LayerNormalization(name="norm2")(x)
    y = layers.Dense(16, activation="gelu", name="up")(y)
    x = layers.Add()([x, layers.Dense(8, name="down")(y)])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="transformer")


def reshaped() -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same", name="one")(x)
    x = layers.Reshape((16, 6))(x)
    x = layers.Dense(10, activation="relu", name="mix")(x)
    x = keras.ops.transpose(x, (0, 2, 1))
    x = keras.ops.mean(x, axis=-1)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="reshaped")


def nested_and_shared() -> keras.Model:
    inner_in = keras.Input((8, 8, 4))
    inner = layers.Conv2D(10, 3, padding="same", activation="relu", name="wide")(inner_in)
    inner = layers.Conv2D(4, 3, padding="same", name="narrow")(inner)
    block = keras.Model(inner_in, inner, name="block")
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    x = layers.Add()([x, block(x)])
    x = layers.Add()([x, block(x)])
    shared = layers.Conv2D(6, 3, padding="same", activation="relu", name="shared")
    x = layers.Concatenate()([shared(x), shared(layers.ReLU()(x))])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="nested_and_shared")


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((12, 2)),
            layers.Conv1D(8, 3, padding="same", activation="relu", name="one"),
            layers.MaxPooling1D(2),
            layers.SeparableConv1D(6, 3, name="two"),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="three"),
            layers.Dense(5, activation="softmax", name="head"),
        ],
        name="sequential",
    )


NETS: dict[str, Callable[[], keras.Model]] = {
    build.__name__: build
    for build in (
        residual,
        dense_blocks,
        squeeze_and_excite,
        grouped,
        transformer,
        reshaped,
        nested_and_shared,
        sequential,
    )
}


def twins() -> keras.Model:
    """Two nested networks whose layers bear the same names."""

    def branch(name: str) -> keras.Model:
        inputs = keras.Input((8, 8, 1))
        x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
        return keras.Model(inputs, layers.Dense(6, name="dense")(layers.Flatten()(x)), name=name)

    inputs = keras.Input((8, 8, 1))
    both = layers.Concatenate()([branch("left")(inputs), branch("right")(inputs)])
    return keras.Model(inputs, layers.Dense(3, name="out")(both))
