"""Small networks that between them join recurrent units in every way the graph knows."""

from collections.abc import Callable

import keras
from keras import layers


def stacked() -> keras.Model:
    x = inputs = keras.Input((6, 3))
    x = layers.Conv1D(8, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.LSTM(6, return_sequences=True, dropout=0.2, recurrent_dropout=0.2, name="lstm")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.GRU(8, return_sequences=True, name="gru")(layers.Dropout(0.2)(x))
    x = layers.GRU(6, reset_after=False, go_backwards=True, name="before")(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="stacked")


def masked_bidirectional() -> keras.Model:
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 8, mask_zero=True, name="embedding")(inputs)
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True), name="both")(x)
    x = layers.Bidirectional(layers.GRU(6), merge_mode="sum", name="sum")(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="masked_bidirectional")


def all_merges() -> keras.Model:
    x = inputs = keras.Input((6, 3))
    x = layers.SimpleRNN(6, return_sequences=True, name="simple")(x)
    ave = layers.Bidirectional(layers.LSTM(4, use_bias=False), merge_mode="ave", name="ave")(x)
    mul = layers.Bidirectional(layers.RNN(layers.LSTMCell(4)), merge_mode="mul", name="mul")(x)
    forward, backward = layers.Bidirectional(
        layers.SimpleRNN(4),
        backward_layer=layers.SimpleRNN(4, activation="sigmoid", go_backwards=True),
        merge_mode=None,
        name="apart",
    )(x)
    x = layers.Concatenate()([layers.Add()([ave, mul]), forward, backward])
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="all_merges")


def encoder_and_decoder() -> keras.Model:
    inputs = keras.Input((6, 3))
    read, *states = layers.Bidirectional(
        layers.LSTM(6, return_sequences=True, return_state=True), name="encoder"
    )(inputs)
    x = layers.LSTM(6, return_sequences=True, name="decoder")(read, initial_state=states[:2])
    x = layers.Add()([x, layers.GRU(6, return_sequences=True, name="beside")(read)])
    x = layers.LayerNormalization(name="norm")(layers.Dense(8, name="wide")(x))
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.RNN(layers.GRUCell(8), name="own_loop")(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="encoder_and_decoder")


def stepwise() -> keras.Model:
    inputs = keras.Input(batch_shape=(3, 6, 3))
    x = layers.LSTM(6, return_sequences=True, stateful=True, name="stateful")(inputs)
    x = layers.TimeDistributed(layers.Dense(8), name="each")(x)
    x = layers.GlobalAveragePooling1D()(layers.GRU(6, return_sequences=True, name="gru")(x))
    return keras.Model(inputs, layers.Dense(5, name="head")(x), name="stepwise")


RECURRENT_NETS: dict[str, Callable[[], keras.Model]] = {
    build.__name__: build
    for build in (stacked, masked_bidirectional, all_merges, encoder_and_decoder, stepwise)
}
