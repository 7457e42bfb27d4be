"""Layers of a user's own, as people bring them."""

import keras
import tensorflow as tf
from keras import layers, ops


@keras.saving.register_keras_serializable("tests")
class Block(layers.Layer):
    """A residual block: two convolutions inside."""

    def __init__(self, filters=6, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.convs = [layers.Conv2D(filters, 3, padding="same") for _ in range(2)]

    def build(self, shape):
        for conv in self.convs:
            conv.build(shape)
        self.built = True

    def call(self, x):
        return ops.relu(x + self.convs[1](ops.relu(self.convs[0](x))))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable("tests")
class Frequencies(layers.Layer):
    """An operation without a rule beside one that has one."""

    def build(self, shape):
        self.dense = layers.Dense(5)
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        return self.dense(ops.real(tf.signal.fft(tf.cast(x, tf.complex64))))
