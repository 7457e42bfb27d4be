"""Random inputs for a network."""

from typing import Any

import keras
import numpy as np

from pocketkube.structure import arranged


def inputs_of(model: keras.Model, count: int = 2, seed: int = 0) -> Any:
    """Inputs of a network, in the structure that it is called with.

    Args:
        model: The network.
        count: How many examples.
        seed: They follow from it.
    """
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=(count, *x.shape[1:])).astype("float32") for x in model.inputs]
    return arranged(model, found)
