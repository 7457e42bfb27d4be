"""Networks whose layers share weights, in the ways that Keras offers."""

from collections.abc import Callable

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("tests")
class Decoder(layers.Layer):
    """Multiplies with the kernel of the dense layer that it holds, transposed."""

    def __init__(self, encoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder

    def build(self, shape):
        self.bias = self.add_weight(shape=(self.encoder.kernel.shape[0],), name="bias")

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.encoder.kernel)) + self.bias

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
        }

    @classmethod
    def from_config(cls, config):
        encoder = keras.saving.deserialize_keras_object(config.pop("encoder"))
        return cls(encoder, **config)


@keras.saving.register_keras_serializable("tests")
class Vocabulary(Decoder):
    """Scores each word by the embedding that it holds."""

    def build(self, shape):
        self.built = True

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.encoder.embeddings))


@keras.saving.register_keras_serializable("tests")
class Holder(layers.Layer):
    """Calls the layer or model that it holds."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x) + 1

    def get_config(self):
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        inner = keras.saving.deserialize_keras_object(config.pop("inner"))
        return cls(inner, **config)


def autoencoder() -> keras.Model:
    inputs = keras.Input((24,))
    encoder = layers.Dense(16, activation="relu", name="encoder")
    x = layers.Dense(24, activation="relu", name="before")(encoder(inputs))
    x = layers.Dense(16, activation="relu", name="after")(x)
    return keras.Model(inputs, Decoder(encoder, name="decoder")(x))


def two_holders() -> keras.Model:
    """Two layers that hold a third which is in no graph itself."""
    inputs = keras.Input((24,))
    held = layers.Dense(16, name="held")
    held.build((None, 24))
    x = layers.Dense(16, activation="relu", name="first")(inputs)
    x = Decoder(held, name="one")(x)
    x = layers.Dense(32, activation="relu", name="wide")(x)
    x = layers.Dense(16, activation="relu", name="second")(x)
    return keras.Model(inputs, Decoder(held, name="two")(x))


def language_model() -> keras.Model:
    inputs = keras.Input((6,), dtype="int32")
    embedding = layers.Embedding(20, 8, name="embedding")
    x = embedding(inputs)
    y = layers.Dense(32, activation="gelu", name="up")(layers.LayerNormalization(name="norm")(x))
    x = layers.Add()([x, layers.Dense(8, name="down")(y)])
    return keras.Model(inputs, Vocabulary(embedding, name="scores")(x))


def reversible_embedding() -> keras.Model:
    inputs = keras.Input((6,), dtype="int32")
    embedding = layers.ReversibleEmbedding(20, 8, name="embedding")
    x = embedding(inputs)
    y = layers.Dense(32, activation="gelu", name="up")(x)
    x = layers.Add()([x, layers.Dense(8, name="down")(y)])
    return keras.Model(inputs, embedding(x, reverse=True))


def called_twice() -> keras.Model:
    inputs = keras.Input((12,))
    x = layers.Dense(16, activation="relu", name="stem")(inputs)
    shared = layers.Dense(16, activation="relu", name="shared")
    return keras.Model(inputs, layers.Dense(4, name="head")(shared(shared(x))))


def inside_and_outside() -> keras.Model:
    """A layer of a nested model that the outer one calls too; the nested one is called twice."""
    shared = layers.Dense(16, activation="relu", name="shared")
    inner_inputs = keras.Input((16,))
    inner_outputs = layers.Dense(16, activation="relu", name="own")(shared(inner_inputs))
    inner = keras.Model(inner_inputs, inner_outputs, name="inner")
    inputs = keras.Input((12,))
    x = layers.Dense(16, activation="relu", name="stem")(inputs)
    return keras.Model(inputs, layers.Dense(4, name="head")(shared(inner(inner(x)))))


def _wide(x):
    x = layers.Dense(32, activation="relu", name="wide")(x)
    return layers.Dense(16, name="narrow")(x)


def model_in_a_layer() -> keras.Model:
    inner_inputs = keras.Input((16,))
    x = layers.Dense(20, activation="relu", name="inner_wide")(inner_inputs)
    inner = keras.Model(inner_inputs, layers.Dense(16, name="inner_end")(x), name="inner")
    inputs = keras.Input((16,))
    return keras.Model(inputs, Holder(inner, name="holder")(_wide(inner(inputs))))


def wrapped() -> keras.Model:
    inputs = keras.Input((5, 16))
    shared = layers.Dense(16, name="shared")
    x = layers.TimeDistributed(shared, name="wrapper")(_wide(shared(inputs)))
    return keras.Model(inputs, x)


TIED: dict[str, Callable[[], keras.Model]] = {
    build.__name__: build
    for build in (
        autoencoder,
        two_holders,
        language_model,
        reversible_embedding,
        called_twice,
        inside_and_outside,
        model_in_a_layer,
        wrapped,
    )
}


def assigned() -> keras.Model:
    """Two layers of one variable object, which no file of Keras's can say."""
    inputs = keras.Input((16,))
    one, other = (layers.Dense(16, activation="relu", name=name) for name in ("one", "other"))
    x = layers.Dense(32, activation="relu", name="wide")(one(inputs))
    x = other(layers.Dense(16, activation="relu", name="narrow")(x))
    other._trainable_variables[0] = one.kernel
    vars(other)["_kernel"] = one.kernel
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


def given_to_an_operation() -> keras.Model:
    """A kernel that an operation is given, which Keras writes down as bare numbers."""
    inputs = keras.Input((24,))
    encoder = layers.Dense(16, name="encoder")
    x = layers.Dense(32, activation="relu", name="wide")(encoder(inputs))
    x = layers.Dense(24, activation="relu", name="narrow")(x)
    return keras.Model(inputs, ops.matmul(x, encoder.kernel))


def holder_first() -> keras.Model:
    """A layer that comes after the one which holds it."""
    inputs = keras.Input((16,))
    held = layers.Dense(16, name="held")
    held.build((None, 16))
    return keras.Model(inputs, held(_wide(Holder(held, name="holder")(inputs))))


IN_MEMORY: dict[str, Callable[[], keras.Model]] = {
    build.__name__: build for build in (assigned, given_to_an_operation, holder_first)
}
