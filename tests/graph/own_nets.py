"""Networks with layers of a user's own that are cut: subclasses of Keras's, and registered ones."""

import keras
from keras import layers, ops

import pocketkube as pk
from pocketkube.graph.channel_flow import ChannelFlow
from pocketkube.graph.channels import Channels
from pocketkube.graph.dependency import Use
from pocketkube.graph.edit import Kept, LayerEdit


@keras.saving.register_keras_serializable("own_nets")
class Named(layers.Conv2D):
    """A convolution with a setting more, which computes nothing of its own."""

    def __init__(self, filters, kernel_size=3, role="", **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        self.role = role

    def get_config(self):
        return {**super().get_config(), "role": self.role}


@keras.saving.register_keras_serializable("own_nets")
class NamedTwice(Named):
    """A subclass of a subclass."""


@keras.saving.register_keras_serializable("own_nets")
class Norm(layers.BatchNormalization):
    """Nothing of its own."""


@keras.saving.register_keras_serializable("own_nets")
class Bounded(layers.Conv2D):
    """Computes something of its own."""

    def call(self, inputs):
        return ops.tanh(super().call(inputs))


@keras.saving.register_keras_serializable("own_nets")
class Standardized(layers.Conv2D):
    """Overrides what `call` uses: every filter's weights, over all that come in, have the mean 0."""

    def convolution_op(self, inputs, kernel):
        centred = kernel - ops.mean(kernel, axis=(0, 1, 2), keepdims=True)
        return super().convolution_op(inputs, centred)


@keras.saving.register_keras_serializable("own_nets")
class HalfNorm(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=training, mask=mask) / 2 + 1


@keras.saving.register_keras_serializable("own_nets")
class SquaredScale(layers.Rescaling):
    def call(self, inputs):
        return ops.square(super().call(inputs))


@keras.saving.register_keras_serializable("own_nets")
class DoubledDepthwise(layers.DepthwiseConv2D):
    def call(self, inputs):
        return super().call(inputs) * 2


@keras.saving.register_keras_serializable("own_nets")
class DoubledSeparable(layers.SeparableConv2D):
    def call(self, inputs):
        return super().call(inputs) * 2


@keras.saving.register_keras_serializable("own_nets")
class HalvedSteps(layers.TimeDistributed):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=training, mask=mask) / 2


@keras.saving.register_keras_serializable("own_nets")
class HalvedSpectral(layers.SpectralNormalization):
    def call(self, inputs, training=False):
        return super().call(inputs, training=training) / 2


@keras.saving.register_keras_serializable("own_nets")
class DoubledLSTM(layers.LSTM):
    def call(self, sequences, **more):
        return super().call(sequences, **more) * 2


@keras.saving.register_keras_serializable("own_nets")
class RoundTable(layers.Embedding):
    """Looks numbers beyond its table's end up from its beginning again."""

    def call(self, inputs):
        return super().call(inputs % self.input_dim)


@keras.saving.register_keras_serializable("own_nets")
class Factors(layers.Layer):
    """A learnt factor for each channel."""

    def build(self, shape):
        self.factors = self.add_weight(shape=(shape[-1],), initializer="ones", name="factors")

    def call(self, inputs):
        return inputs * self.factors


def _channels(call: ChannelFlow) -> Channels:
    return Channels(-1, call.last())


def _edit(use: Use, kept: Kept) -> LayerEdit:
    return LayerEdit({}, {"factors": ((0, kept.outputs[0]),)})


def register() -> None:
    """Says how those are cut that compute something of their own."""
    pk.register_layer(Bounded, like=layers.Conv2D)
    pk.register_layer(Factors, channels=_channels, edit=_edit)


def subclassed() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = Named(8, role="stem", name="stem", padding="same")(inputs)
    x = Norm(name="norm")(x)
    x = layers.ReLU()(x)
    x = layers.Add()([x, NamedTwice(8, padding="same", name="side")(x)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


def registered() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = Bounded(8, 3, name="bounded")(inputs)
    x = Factors(name="factors")(x)
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="head")(x))
