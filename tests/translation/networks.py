"""A small model of translation, and sentences for it."""

import keras
import numpy as np
from keras import layers, ops

from pocketkube.models.transformer import TRANSFORMERS, build_transformer

LENGTH = 7


def small_model(vocabulary: int) -> keras.Model:
    """Random weights, of which what is read counts more than what was written last."""
    model = build_transformer(TRANSFORMERS["transformer_tiny"], vocabulary, 9, LENGTH, seed=0)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        if "source/attention_output/kernel" in weight.path or "outer/kernel" in weight.path:
            weight.assign(rng.normal(0, 1, weight.shape))
    return model


class Positions(layers.Layer):
    """Adds a weight of each position, as a model of one's own may."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.each = self.add_weight(shape=shape[1:], name="each")

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return x + self.each


def randomized(model: keras.Model) -> keras.Model:
    """The model, its weights random ones."""
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 1, weight.shape))
    return model


def read_by_softmax(vocabulary: int) -> keras.Model:
    """Source and target of one length, its scores a table of the source by the target."""
    source, target = (keras.Input((LENGTH,), dtype="int32") for _ in range(2))
    memory, x = layers.Embedding(vocabulary, 8)(source), layers.Embedding(vocabulary, 8)(target)
    x = x + layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    scores = layers.Softmax(axis=1)(layers.Dot(axes=(2, 2))([memory, x]))
    x = layers.Concatenate()([layers.Dot(axes=(1, 1))([scores, memory]), x])
    return randomized(keras.Model([source, target], layers.Dense(vocabulary)(x)))


class AllAtOnce(layers.Layer):
    """Computes of all positions alone."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.reshape(x, (-1, LENGTH, x.shape[-1]))

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape


def own_model(vocabulary: int, positions: str = "weight", *, looks_back: bool = True) -> keras.Model:
    """One block of a decoder, of random weights.

    Args:
        vocabulary: How many tokens there are.
        positions: What tells positions apart: "weight", "constant", or "all at once".
        looks_back: Whether a position knows those before it.
    """
    source, target = keras.Input((9,), dtype="int32"), keras.Input((LENGTH,), dtype="int32")
    x, memory = layers.Embedding(vocabulary, 8)(target), layers.Embedding(vocabulary, 8)(source)
    if positions == "constant":
        x = x + np.random.default_rng(1).normal(0, 1, (LENGTH, 8)).astype("float32")
    else:
        x = {"weight": Positions, "all at once": AllAtOnce}[positions]()(x)
    if looks_back:
        x = x + layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    x = x + layers.MultiHeadAttention(2, 4)(x, memory)
    return randomized(keras.Model([source, target], layers.Dense(vocabulary)(x)))


def sentences(vocabulary: int) -> np.ndarray:
    """Six of 4 to 9 tokens."""
    tokens = np.random.default_rng(0).integers(4, vocabulary, (6, 9)).astype("int32")
    return np.where(np.arange(9) < np.arange(4, 10)[:, None], tokens, 0)
