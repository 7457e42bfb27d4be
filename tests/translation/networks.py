"""A small model of translation, and sentences for it."""

import keras
import numpy as np

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


def sentences(vocabulary: int) -> np.ndarray:
    """Six of 4 to 9 tokens."""
    tokens = np.random.default_rng(0).integers(4, vocabulary, (6, 9)).astype("int32")
    return np.where(np.arange(9) < np.arange(4, 10)[:, None], tokens, 0)
