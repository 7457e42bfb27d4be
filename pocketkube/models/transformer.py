"""The Transformer for translation (Vaswani et al., 2017), of Keras's own layers.

Normalisation comes before attention and feed-forward layers, not behind their residual connections as
in the paper: so it trains at any schedule's peak, and after pruning, without thousands of steps of
warm-up (Xiong et al., 2020), as the authors' own tensor2tensor does since its second version.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pocketkube.data.dataset import Dataset
from pocketkube.errors import UserError

# The token that fills up sequences, and has no part in attention, loss or score.
PADDING = 0
DROPOUT = 0.1


@dataclass(frozen=True)
class Size:
    """How large a Transformer is.

    Attributes:
        blocks: Of the encoder, and as many of the decoder.
        heads: Attention heads of each.
        head_width: Numbers of a query, a key and a value; a token's vector has `heads` times as many.
        inner_width: Units of the first of the two feed-forward layers.
    """

    blocks: int
    heads: int
    head_width: int
    inner_width: int

    def scaled(self, width: float) -> "Size":
        """The same with `width` times the heads and the units."""
        heads, inner = (max(1, round(count * width)) for count in (self.heads, self.inner_width))
        return Size(self.blocks, heads, self.head_width, inner)


TRANSFORMERS = {
    "transformer": Size(blocks=6, heads=8, head_width=64, inner_width=2048),
    "transformer_tiny": Size(blocks=2, heads=4, head_width=16, inner_width=128),
}


def transformer(name: str, dataset: Dataset, *, width: float, seed: int) -> keras.Model:
    """Builds a Transformer for a data set of parallel text.

    Args:
        name: One of `TRANSFORMERS`.
        dataset: What it is to translate.
        width: What heads and feed-forward units are multiplied by.
        seed: The weights follow from it.

    Raises:
        UserError: If the data are no parallel text, or the width is not above 0.
    """
    if dataset.translation is None:
        raise UserError(
            f"{name} translates, and {dataset.name} is no parallel text: give one, as in dataset: "
            "{text: {folder: wmt14, languages: [en, de]}}."
        )
    if width <= 0:
        raise UserError(f"{name}'s width must be above 0. Received: {width}.")
    (source,), (target,) = dataset.input_shapes
    vocabulary = dataset.translation.vocabulary_size
    return build_transformer(TRANSFORMERS[name].scaled(width), vocabulary, source, target, seed, name)


def build_transformer(
    size: Size, vocabulary: int, source: int, target: int, seed: int, name: str = "transformer"
) -> keras.Model:
    """Builds a Transformer with fresh weights.

    One matrix embeds the tokens of both languages and gives the logits (Press and Wolf, 2017), and
    positions are sinusoids. The encoder and attention to it leave padding out; the decoder's own
    attention looks back only, so that padding, which is behind, needs no mask.

    Args:
        size: How large it is.
        vocabulary: How many tokens there are, of which 0 fills up.
        source: Tokens of a sentence that is read.
        target: Tokens of one that is written.
        seed: The weights follow from it.
        name: The model's.

    Returns:
        A model of tokens `[B, source]` and of those written so far `[B, target]` to logits of the next
        one after each, `[B, target, vocabulary]`; compiled with the cross-entropy of all but padding.
    """
    parts = _Parts(size, vocabulary, max(source, target), seed)
    read = keras.Input((source,), dtype="int32", name="source")
    written = keras.Input((target,), dtype="int32", name="target")
    # Of every token that is looked at, for all that look: [B, 1, source].
    there = ops.expand_dims(ops.not_equal(read, PADDING), 1)
    x = parts.embedded(read, "source")
    for number in range(1, size.blocks + 1):
        x = parts.attention(x, f"encoder{number}_attention", attention_mask=there)
        x = parts.feed_forward(x, f"encoder{number}")
    memory = parts.normalised(x, "encoder")
    x = parts.embedded(written, "target")
    for number in range(1, size.blocks + 1):
        x = parts.attention(x, f"decoder{number}_attention", use_causal_mask=True)
        x = parts.attention(x, f"decoder{number}_source", memory, attention_mask=there)
        x = parts.feed_forward(x, f"decoder{number}")
    logits = parts.embedding(parts.normalised(x, "decoder"), reverse=True)
    model = keras.Model([read, written], layers.Identity(name="logits")(logits), name=name)
    parts.positions.set_weights([sinusoids(max(source, target), parts.width)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=PADDING)
    model.compile("sgd", loss)
    return model


def sinusoids(length: int, width: int) -> np.ndarray:
    """`[length, width]`: sines and cosines of each position, of wavelengths from 2 pi to 20,000 pi."""
    rates = 1e4 ** -(np.arange(0, width, 2) / width)
    angles = np.arange(length)[:, None] * rates
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, -1)[:, :width]


class _Parts:
    """Makes the parts of a Transformer, whose initial weights follow from the order of the calls."""

    def __init__(self, size: Size, vocabulary: int, length: int, seed: int):
        self._size, self._generator = size, np.random.default_rng(seed)
        self.width = size.heads * size.head_width
        self.embedding = layers.ReversibleEmbedding(
            vocabulary,
            self.width,
            embeddings_initializer=keras.initializers.RandomNormal(
                stddev=self.width**-0.5, seed=self._seed()
            ),
            name="embedding",
        )
        self.positions = layers.Embedding(
            length, self.width, embeddings_initializer="zeros", trainable=False, name="positions"
        )

    def embedded(self, tokens: Any, name: str) -> Any:
        """Vectors of tokens `[B, length]` and of where they stand."""
        places = ops.cumsum(ops.ones_like(tokens), axis=1) - 1
        x = self.embedding(tokens) * self.width**0.5 + self.positions(places)
        return layers.Dropout(DROPOUT, seed=self._seed(), name=f"{name}_dropout")(x)

    def attention(self, x: Any, name: str, memory: Any = None, **masks: Any) -> Any:
        """Adds what attention to `memory`, or to `x` itself, finds."""
        y = self.normalised(x, name)
        attention = layers.MultiHeadAttention(
            self._size.heads, self._size.head_width, seed=self._seed(), name=name
        )
        found = attention(y, y if memory is None else memory, **masks)
        # One initializer would give all three the same numbers, and count heads as pixels of a kernel.
        for dense in (attention.query_dense, attention.key_dense, attention.value_dense):
            matrix = self._glorot()((self.width, self.width))
            dense.kernel.assign(ops.reshape(matrix, dense.kernel.shape))
        kernel = attention.output_dense.kernel
        kernel.assign(ops.reshape(self._glorot()((self.width, self.width)), kernel.shape))
        return self._added(x, found, name)

    def feed_forward(self, x: Any, name: str) -> Any:
        """Adds what two dense layers make of each position."""
        y = self.normalised(x, f"{name}_inner")
        y = layers.Dense(
            self._size.inner_width, "relu", kernel_initializer=self._glorot(), name=f"{name}_inner"
        )(y)
        y = layers.Dense(self.width, kernel_initializer=self._glorot(), name=f"{name}_outer")(y)
        return self._added(x, y, f"{name}_outer")

    def normalised(self, x: Any, name: str) -> Any:
        """`x` in a LayerNormalization."""
        return layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)

    def _added(self, x: Any, y: Any, name: str) -> Any:
        y = layers.Dropout(DROPOUT, seed=self._seed(), name=f"{name}_dropout")(y)
        return layers.Add(name=f"{name}_add")([x, y])

    def _glorot(self) -> keras.Initializer:
        return keras.initializers.GlorotUniform(seed=self._seed())

    def _seed(self) -> int:
        return int(self._generator.integers(2**31 - 1))
