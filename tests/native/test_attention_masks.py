"""Attention that leaves positions out does so in 8 bits, and tells the others apart."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from pocketkube.deploy import convert_litert
from pocketkube.litert.running import LiteRTModel

LENGTH, WIDTH = 6, 8
SHAPE = (LENGTH, WIDTH)


def heads(x: Any, there: Any) -> Any:
    """Keras's own choice, by selecting."""
    return layers.MultiHeadAttention(2, 4)(x, x, attention_mask=ops.expand_dims(there, 1))


def looking_back(x: Any, there: Any) -> Any:
    """A constant mask and one of the example."""
    attention = layers.MultiHeadAttention(2, 4)
    return attention(x, x, attention_mask=ops.expand_dims(there, 1), use_causal_mask=True)


def one_head(x: Any, there: Any) -> Any:
    """A mask that is subtracted."""
    return layers.Attention()([layers.Dense(WIDTH)(x), x], mask=[None, there])


def softmax(x: Any, there: Any) -> Any:
    """A mask that is added."""
    scores = ops.matmul(layers.Dense(WIDTH)(x), ops.transpose(x, (0, 2, 1)))
    shares = layers.Softmax()(
        scores, mask=ops.broadcast_to(ops.expand_dims(there, 1), (1, LENGTH, LENGTH))
    )
    return ops.matmul(shares, x)


def of_bert(x: Any, there: Any) -> Any:
    """A mask that is added, of another size, and that several layers share."""
    mask = ops.expand_dims(1.0 - ops.cast(there, "float32"), 1) * -10000.0
    # Scores of the second reach further than those of the first.
    for size in (4.0, 1.0):
        scores = ops.matmul(x, ops.transpose(layers.Dense(WIDTH)(x), (0, 2, 1)))
        x = x + ops.matmul(ops.softmax(scores / (size * WIDTH**0.5) + mask), x)
    return x


def answers(model: LiteRTModel, *inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([outputs[0] for outputs in model.predict(inputs)])


def selected(x: Any, there: Any) -> Any:
    """A mask that is added and was made by selecting."""
    scores = ops.matmul(layers.Dense(WIDTH)(x), ops.transpose(x, (0, 2, 1)))
    mask = ops.where(ops.expand_dims(there, 1), 0.0, -1e9)
    return ops.matmul(ops.softmax(scores + mask), x)


def less_one(x: Any, there: Any) -> Any:
    """A mask of which 0 is left where something may be looked at."""
    scores = ops.matmul(layers.Dense(WIDTH)(x), ops.transpose(x, (0, 2, 1)))
    mask = (ops.expand_dims(ops.cast(there, "float32"), 1) - 1.0) * 1e9
    return ops.matmul(ops.softmax(scores + mask), x)


def twice(x: Any, there: Any) -> Any:
    """One mask of the example, and a constant one that keeps from looking ahead."""
    scores = ops.matmul(layers.Dense(WIDTH)(x), ops.transpose(x, (0, 2, 1)))
    padding = ops.expand_dims(1.0 - ops.cast(there, "float32"), 1) * -1e9
    ahead = np.triu(np.full((1, LENGTH, LENGTH), -1e9, "float32"), 1)
    return ops.matmul(ops.softmax(scores + padding + ahead), x)


@pytest.mark.parametrize(
    "attend", [heads, looking_back, one_head, softmax, of_bert, selected, less_one, twice]
)
def test_int8_masks_as_floats_do(attend: Callable[[Any, Any], Any]) -> None:
    keras.utils.set_random_seed(0)
    x, lengths = keras.Input(SHAPE, name="x"), keras.Input((1,), dtype="int32", name="lengths")
    there = ops.less(ops.arange(LENGTH), lengths)
    model = keras.Model([x, lengths], attend(x, there))
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(100, *SHAPE)).astype("float32")
    counts = rng.integers(1, LENGTH + 1, (100, 1)).astype("int32")
    exact = LiteRTModel(convert_litert(model, "float32"))
    rounded = LiteRTModel(convert_litert(model, "int8", calibration=[numbers, counts]))
    wanted, got = (answers(one, numbers, counts) for one in (exact, rounded))
    seen = np.arange(LENGTH) < counts
    assert np.abs(got - wanted)[seen].mean() < 0.03 * np.abs(wanted)[seen].mean()
    # What is masked may be anything.
    others = np.where(seen[..., None], numbers, rng.permutation(numbers))
    changed = answers(rounded, others, counts)
    np.testing.assert_allclose(changed[seen], got[seen], atol=0.03 * wanted.std())
