"""What a user may have beside a spec; tests copy it, and import it from there alone."""

import keras
from keras import layers, ops

import pocketkube as pk


class Named(layers.Conv2D):
    """A subclass that computes nothing of its own, under no decorator."""

    def __init__(self, filters, kernel_size=3, role="", **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        self.role = role

    def get_config(self):
        return {**super().get_config(), "role": self.role}


@keras.saving.register_keras_serializable("mine")
class Halved(layers.Conv2D):
    """One that does: what it gives is halved."""

    def call(self, inputs):
        return 0.5 * super().call(inputs)


pk.register_layer(Halved, like=layers.Conv2D)


@keras.saving.register_keras_serializable("mine")
def wave(x):
    """An activation."""
    return ops.sin(x)


def relu(x):
    """Under no decorator: a model file cannot call it."""
    return -x


def network(size=8, classes=10):
    """A network with both."""
    inputs = keras.Input((size, size, 1))
    x = Named(8, padding="same", role="stem", name="stem")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("relu")(x)
    x = Halved(16, 3, strides=2, padding="same", activation="relu", name="halved")(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax", name="head")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model
