"""Decodes with a Keras model of translation."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.translation.step_models import LOGITS, POSITION, SOURCE, TOKEN, StepModels, step_models


class KerasDecoder:
    """A `Decoder` that computes each position once.

    Args:
        model: The model; see `step_models`.
    """

    def __init__(self, model: keras.Model) -> None:
        self._parts: StepModels = step_models(model)
        self._known: dict[str, Any] = {}
        self._cache: dict[str, Any] = {}
        self._encode = tf.function(lambda source: self._parts.encoder({SOURCE: source}, training=False))
        self._step = tf.function(lambda given: self._parts.step(given, training=False))

    @property
    def length(self) -> int:
        """See `Decoder`."""
        return self._parts.length

    def begin(self, sources: np.ndarray) -> None:
        """See `Decoder`."""
        self._known = dict(self._encode(tf.constant(sources, tf.int32)))
        shapes = self._parts.cache.items()
        self._cache = {name: tf.zeros((len(sources), *shape)) for name, shape in shapes}

    def next(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """See `Decoder`."""
        now = {
            TOKEN: tf.constant(tokens[:, None], tf.int32),
            POSITION: tf.fill((len(tokens), 1), position),
        }
        self._cache = dict(self._step({**now, **self._known, **self._cache}))
        return np.asarray(self._cache.pop(LOGITS))

    def reorder(self, rows: np.ndarray) -> None:
        """See `Decoder`."""
        self._known, self._cache = (
            {name: tf.gather(x, rows) for name, x in state.items()}
            for state in (self._known, self._cache)
        )
