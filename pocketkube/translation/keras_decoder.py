"""Decodes with a Keras model of translation."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.translation.names import LOGITS, POSITION, TOKEN
from pocketkube.translation.step_models import step_models


class KerasDecoder:
    """A `Decoder` that computes each position once.

    Args:
        model: The model; see `step_models`.
    """

    def __init__(self, model: keras.Model) -> None:
        self._parts = step_models(model)
        self._known: dict[str, Any] = {}
        self._cache: dict[str, Any] = {}
        self._encode = tf.function(self._parts.encode, autograph=False)
        self._step = tf.function(self._parts.step, autograph=False)

    @property
    def length(self) -> int:
        """See `Decoder`."""
        return self._parts.length

    def begin(self, sources: np.ndarray) -> None:
        """See `Decoder`."""
        self._known = self._encode(tf.constant(sources, tf.int32))
        self._cache = {
            name: tf.zeros((len(sources), *spec.shape), spec.dtype)
            for name, spec in self._parts.cache.items()
        }

    def next(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """See `Decoder`."""
        now = {
            TOKEN: tf.constant(tokens[:, None], tf.int32),
            POSITION: tf.fill((len(tokens), 1), position),
        }
        self._cache = self._step({**now, **self._known, **self._cache})
        return np.asarray(self._cache.pop(LOGITS))

    def reorder(self, rows: np.ndarray) -> None:
        """See `Decoder`."""
        self._known, self._cache = (
            {name: tf.gather(x, rows) for name, x in state.items()}
            for state in (self._known, self._cache)
        )
