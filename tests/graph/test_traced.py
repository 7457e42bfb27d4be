"""What layers without a rule multiply, against hand counts and TensorFlow's profiler."""

import keras
import pytest
import tensorflow as tf
from keras import layers, ops

from pocketkube.graph.cost import profile_model
from tests.graph.custom_layers import Block, Frequencies
from tests.graph.tensorflow_profiler import float_operations


class Stage(layers.Layer):
    """Blocks in a layer in a layer, with a pooling and a normalisation."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [Block(6), layers.AveragePooling2D(2), layers.BatchNormalization(), Block(6)]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


class Projection(layers.Layer):
    """Weights of its own, multiplied by `how`."""

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 7), name="kernel")

    def call(self, x):
        return self.how(x, self.kernel)


class Whole(keras.Model):
    """A subclassed model, which serves as a layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(5, 3, activation="relu")
        self.head = layers.Dense(3)

    def call(self, x):
        return self.head(ops.mean(self.conv(x), axis=(1, 2)))


class Cell(layers.Layer):
    """A cell of a recurrent network: one product for the input, one for the state."""

    state_size = output_size = 6

    def build(self, shape):
        self.into = self.add_weight(shape=(shape[-1], 6), name="into")
        self.around = self.add_weight(shape=(6, 6), name="around")

    def call(self, x, states):
        new = ops.tanh(ops.matmul(x, self.into) + ops.matmul(states[0], self.around))
        return new, [new]


def alone(layer, *shapes):
    inputs = [keras.Input(shape) for shape in shapes]
    return keras.Model(inputs, layer(inputs[0] if len(inputs) == 1 else inputs))


CONV = 64 * 9 * 6 * 6
LSTM = 5 * (4 * 24 + 6 * 24)
GRU = 5 * (4 * 18 + 6 * 18)


# The profiler knows these operations, at the place where it meets them.
@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (Block(6), (8, 8, 6), 2 * CONV),
        (Stage(), (8, 8, 6), 2 * CONV + 2 * CONV // 4),
        (Whole(), (8, 8, 4), 36 * 9 * 4 * 5 + 5 * 3),
        (Projection(ops.matmul), (5, 4), 5 * 4 * 7),
        (layers.Lambda(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))), (5, 4), 5 * 5 * 4),
        (layers.SpectralNormalization(layers.Conv2D(6, 3, padding="same")), (8, 8, 6), CONV),
        (layers.RNN(Cell(), unroll=True), (5, 4), 5 * (4 * 6 + 6 * 6)),
        (layers.Bidirectional(layers.LSTM(6, unroll=True)), (5, 4), 2 * LSTM),
        (layers.GRU(6, unroll=True, reset_after=False), (5, 4), GRU),
        (layers.Bidirectional(layers.GRU(6, unroll=True), merge_mode="ave"), (5, 4), 2 * GRU),
        (layers.RNN(layers.SimpleRNNCell(6), unroll=True), (5, 4), 5 * (4 * 6 + 6 * 6)),
        (layers.TimeDistributed(layers.Dense(7, activation="gelu")), (5, 4), 5 * 4 * 7),
        (layers.Dense(3, activation=lambda x: x @ ops.ones((3, 3))), (4,), 4 * 3 + 3 * 3),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_what_is_inside_a_layer_is_counted_as_tensorflow_counts_it(layer, shape, macs):
    model = alone(layer, shape)
    profile = profile_model(model)
    assert (profile.macs, profile.unknown) == (macs, ())
    assert profile.flops == pytest.approx(float_operations(model), rel=0.01)
    assert profile.parameters == model.count_params()


# Here it does not: einsums, loops, three-dimensional convolutions. By hand.
@pytest.mark.parametrize(
    ("layer", "shapes", "macs"),
    [
        (Projection(lambda x, k: ops.einsum("...i,ij->...j", x, k)), [(5, 3, 4)], 15 * 4 * 7),
        (Projection(lambda x, k: ops.tensordot(x, k, axes=1)), [(5, 4)], 5 * 4 * 7),
        (Projection(lambda x, k: ops.conv(x, k[None], padding="same")), [(5, 4)], 5 * 4 * 7),
        (layers.TimeDistributed(layers.Conv2D(5, 3)), [(3, 8, 8, 4)], 3 * 36 * 9 * 4 * 5),
        (layers.TimeDistributed(Block(6)), [(3, 8, 8, 6)], 3 * 2 * CONV),
        (layers.Bidirectional(layers.LSTM(6)), [(5, 4)], 2 * LSTM),
        (layers.Bidirectional(layers.GRU(6)), [(5, 4)], 2 * GRU),
        (layers.RNN(Cell()), [(5, 4)], 5 * (4 * 6 + 6 * 6)),
        (layers.RNN([layers.LSTMCell(6), Cell()]), [(5, 4)], LSTM + 5 * (6 * 6 + 6 * 6)),
        (layers.ConvLSTM1D(6, 3, padding="same"), [(5, 8, 4)], 5 * 8 * 3 * (4 * 24 + 6 * 24)),
        (layers.AdditiveAttention(), [(5, 4), (7, 4)], 5 * 7 * 4),
        (layers.Lambda(lambda x: ops.map(lambda r: r[None] @ ops.ones((4, 2)), x[0])), [(5, 4)], 40),
        (layers.Pipeline([layers.Rescaling(0.5), layers.Dense(3)]), [(4,)], 12),
        (layers.UpSampling2D(interpolation="bilinear"), [(8, 8, 4)], 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_what_the_profiler_does_not_see_is_counted_too(layer, shapes, macs):
    profile = profile_model(alone(layer, *shapes))
    assert (profile.macs, profile.unknown) == (macs, ())


@pytest.mark.parametrize(
    ("one", "other", "call", "macs"),
    [
        ((5, 4), (4, 6), ops.matmul, 5 * 4 * 6),
        ((5, 4), (4, 6), lambda a, b: ops.einsum("...ij,...jk->...ik", a, b), 5 * 4 * 6),
        ((4,), (4,), ops.subtract, 0),
    ],
)
def test_a_bare_operation_is_counted(one, other, call, macs):
    inputs = [keras.Input(one), keras.Input(other)]
    profile = profile_model(keras.Model(inputs, call(*inputs)))
    assert (profile.macs, profile.unknown) == (macs, ())


def test_positions_folded_into_the_batch_are_counted():
    inputs = keras.Input((16, 8))
    x = layers.Dense(6)(ops.reshape(inputs, (-1, 8)))
    x = ops.reshape(x, (-1, 16, 6))
    x = layers.Dense(3)(ops.transpose(x, (1, 0, 2)))
    model = keras.Model(inputs, ops.transpose(x, (1, 0, 2)))
    assert profile_model(model).macs == 16 * 8 * 6 + 16 * 6 * 3
    assert profile_model(model).flops == pytest.approx(float_operations(model), rel=0.01)


def test_a_layer_called_with_two_shapes_is_counted_with_each():
    one, other, block = keras.Input((8, 8, 6)), keras.Input((4, 4, 6)), Block(6)
    profile = profile_model(keras.Model([one, other], [block(one), block(other)]))
    assert profile.macs == 2 * CONV + 2 * CONV // 4
    assert profile.parameters == 2 * (9 * 36 + 6)


class Halving(layers.Layer):
    """Runs until its values are small: nobody knows how often."""

    def call(self, x):
        return tf.while_loop(
            lambda y: tf.reduce_max(y) > 1, lambda y: (y @ tf.ones((4, 4)) / 8,), (x,)
        )[0]


class Python(layers.Layer):
    """Computes outside TensorFlow."""

    def call(self, x):
        return ops.reshape(tf.numpy_function(lambda y: y @ y.T, [x], "float32"), (-1, 1))

    def compute_output_shape(self, shape):
        return (shape[0], 1)


@pytest.mark.parametrize(
    ("layer", "macs", "why"),
    [
        (Halving, 0, "a loop that runs an unknown number of times"),
        (Python, 0, "the operation PyFunc"),
        (Frequencies, 20, "the operation FFT"),
    ],
)
def test_what_nobody_can_count_is_named(layer, macs, why):
    profile = profile_model(alone(layer(name="mine"), (4,)))
    assert profile.unknown == (f"mine ({layer.__name__})",)
    assert (profile.macs, profile.layers[-1].uncounted) == (macs, (why,))
