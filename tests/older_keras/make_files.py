"""Writes the files of this folder anew, by Keras 2: needs the package tf_keras beside TensorFlow.

    python tests/older_keras/make_files.py

Each is a network with weights of chance, its inputs, and the outputs that Keras 2 computes of them.
"""

import os
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

FILES = Path(__file__).with_name("files")


def images() -> keras.Model:
    """What Keras 3 has otherwise: names with slashes, operations between layers, nested models."""
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(6, 3, use_bias=False, name="stem/conv")(
        layers.Normalization()(image / 255.0 - 0.5)
    )
    x = layers.BatchNormalization(name="stem/bn")(x)
    x = layers.ReLU(6.0)(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    inner = keras.Sequential(
        [
            layers.Input((10, 10, 6)),
            layers.Conv2D(6, 1, activation="relu"),
            layers.BatchNormalization(),
        ],
        name="inner",
    )
    branch = keras.Input((10, 10, 6))
    deep = keras.Model(
        branch, layers.Add()([branch, layers.SeparableConv2D(6, 3, padding="same")(branch)])
    )
    x = deep(inner(x)) + x * 0.5
    x = layers.LeakyReLU(0.1)(inner(x))
    x = layers.Activation("hard_sigmoid")(x)
    x = layers.GlobalAveragePooling2D()(x)
    kind = layers.Dense(4, activation="softmax", name="kind", kernel_regularizer="l2")(x)
    model = keras.Model(image, {"kind": kind, "box": layers.Dense(2, name="box")(x)})
    losses = {"kind": keras.losses.SparseCategoricalCrossentropy(), "box": "mse"}
    model.compile(keras.optimizers.Adam(), losses, loss_weights={"kind": 1.0, "box": 0.5})
    return model


def words() -> keras.Model:
    """Recurrent layers, and a Sequential model whose first layer knows the shape."""
    forward = layers.LSTM(3, return_sequences=True, recurrent_activation="hard_sigmoid")
    model = keras.Sequential(
        [
            layers.Embedding(20, 4, input_length=7, mask_zero=True),
            layers.Bidirectional(forward),
            layers.TimeDistributed(layers.Dense(4)),
            layers.GRU(3, reset_after=False),
            layers.Dense(2),
        ]
    )
    model.build((None, 7))
    return model


def sequences() -> keras.Model:
    """Attention, whose file tells the shapes it was built for; states handed from layer to layer."""
    x = keras.Input((5, 4), name="steps")
    seen = layers.MultiHeadAttention(2, 3, name="attention")(x, x, use_causal_mask=True)
    seen = layers.SpatialDropout1D(0.2, name="dropped")(seen)
    _, *state = layers.LSTM(3, return_state=True, name="read")(x)
    written = layers.LSTM(3, return_sequences=True, name="written")(seen, initial_state=state)
    _, forth, back = layers.Bidirectional(layers.GRU(3, return_state=True), name="both")(x)
    again = layers.Bidirectional(layers.GRU(3), name="again")(written, initial_state=[forth, back])
    return keras.Model(x, {"written": written, "again": again})


def masked() -> keras.Model:
    """What hands masks on otherwise than in Keras 3; the words of two sentences stand side by side."""
    x = keras.Input((14, 1), name="words")
    first, second = (
        layers.Embedding(9, 4, mask_zero=True, name=f"embedded_{part[0]}")(
            layers.Reshape((7,))(layers.Cropping1D(part)(x))
        )
        for part in ((0, 7), (7, 0))
    )
    places = layers.Embedding(9, 4, name="places")(layers.Reshape((7,))(layers.Cropping1D((0, 7))(x)))
    merged = {
        "add": layers.Add(name="add")([first, second]),
        "multiply": layers.Multiply(name="multiply")([first, places]),
        "average": layers.Average(name="average")([first, second, places]),
        "wider": layers.Concatenate(name="concatenate")([first, places, second]),
        "longer": layers.Concatenate(axis=1, name="concatenate_1")([first, second]),
        "doubled": first * 2.0,
        "added": first + second,
        "joined": tf.concat([first, second], -1),
        "curved": tf.nn.tanh(first),
        "shared": tf.nn.softmax(first),
        "rescaled": layers.Rescaling(2.0, name="rescaling")(first),
        "identity": layers.Identity(name="identity")(first),
        "largest": layers.Maximum(name="maximum")([first, second]),
        "pooled": layers.Add(name="unmasked_add")(
            [layers.GlobalAveragePooling1D()(first), layers.GlobalMaxPooling1D()(second)]
        ),
    }
    ends = {
        name: y if name == "pooled" else layers.SimpleRNN(2, name=f"read_{name}")(y)
        for name, y in merged.items()
    }
    state = layers.SimpleRNN(3, name="encoder")(first)
    ends["decoded"] = layers.SimpleRNN(3, name="decoder")(second, initial_state=state)
    return keras.Model(x, ends)


def nested() -> keras.Model:
    """Masks that go through a model within another."""
    x = keras.Input((7,), name="words")
    inner = keras.Input((7, 4))
    largest = keras.Model(inner, layers.Maximum(name="maximum")([inner, inner * 3.0]), name="inner")
    y = largest(layers.Embedding(9, 4, mask_zero=True, name="embedded")(x))
    y = layers.Add(name="add")([y, layers.Embedding(9, 4, name="places")(x)])
    return keras.Model(x, layers.SimpleRNN(2, name="read")(y))


def base() -> keras.Model:
    """What stands in other models: Keras 2 writes its single input and output as lists of one."""
    image = keras.Input((6, 6, 3))
    x = layers.BatchNormalization()(layers.Conv2D(2, 3, use_bias=False)(image))
    return keras.Model(image, layers.ReLU()(x), name="base")


def transfer() -> keras.Model:
    """A functional model within a Sequential one."""
    model = keras.Sequential([base(), layers.GlobalAveragePooling2D(), layers.Dense(3)])
    model.build((None, 6, 6, 3))
    return model


def frames() -> keras.Model:
    """A functional model that a layer gives each step to, and one within a Sequential."""
    x = keras.Input((2, 6, 6, 3), name="frames")
    steps = layers.TimeDistributed(base(), name="steps")(x)
    inner = keras.Input((4, 4, 2))
    last = keras.Sequential([keras.Model(inner, layers.MaxPooling2D()(inner)), layers.Flatten()])
    return keras.Model(x, layers.TimeDistributed(last, name="flat")(steps))


def padded(rng: np.random.Generator) -> np.ndarray:
    """Pairs of sentences of up to seven words; the rest is 0."""
    words, lengths = rng.integers(1, 9, (8, 2, 7)), rng.integers(1, 7, (8, 2, 1))
    return np.where(np.arange(7) < lengths, words, 0).reshape(8, 14, 1).astype("float32")


def main() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = {
        "images": rng.integers(0, 256, (6, 12, 12, 3)).astype("float32"),
        "words": rng.integers(0, 20, (6, 7)),
        "sequences": rng.normal(size=(6, 5, 4)).astype("float32"),
        "masked": padded(rng),
        "nested": padded(rng)[:, :7, 0],
        "transfer": rng.normal(size=(6, 6, 6, 3)).astype("float32"),
        "frames": rng.normal(size=(6, 2, 6, 6, 3)).astype("float32"),
    }
    for build in (images, words, sequences, masked, nested, transfer, frames):
        model, name = build(), build.__name__
        for weight in (each for each in model.weights if each.dtype.is_floating):
            low = 0.5 if "variance" in weight.name else -0.5
            weight.assign(rng.uniform(low, low + 1, weight.shape))
        for layer in model.layers:
            if isinstance(layer, layers.Normalization):
                layer.finalize_state()
        outputs = model.predict(inputs[name], verbose=0)
        outputs = outputs if isinstance(outputs, dict) else {"y": outputs}
        np.savez(FILES / f"{name}.npz", x=inputs[name], **outputs)
        model.save(FILES / f"{name}.h5")
        if name == "images":
            model.save(FILES / name, include_optimizer=False)
    model.save_weights(FILES / "weights_alone.h5")
    keras.Sequential([layers.Input((4,)), layers.Dense(2)]).save(FILES / "of_keras_2.keras")
    keras.Sequential([layers.Input((4,)), layers.Lambda(lambda x: x * 2)]).save(FILES / "lambda.h5")


if __name__ == "__main__":
    main()
