"""Refuses examples that are not what a model takes, before anything is computed from them."""

from collections.abc import Sequence

import keras
import numpy as np

from pocketkube.errors import UserError
from pocketkube.finite import refuse_not_finite
from pocketkube.graph.walk import functional_graph
from pocketkube.shapes import refuse_other_shapes


def refuse_other_examples(model: keras.Model, examples: Sequence[np.ndarray]) -> None:
    """Checks calibration examples.

    Args:
        model: A functional or sequential model.
        examples: An array `[N, ...]` for each of its inputs.

    Raises:
        UserError: If there are none, their number or shapes are not the model's, or a value is no
            finite number.
    """
    wanted = [tuple(tensor.shape[1:]) for tensor in functional_graph(model).inputs]
    given = [np.shape(array)[1:] for array in examples]
    refuse_other_shapes("calibration examples", given, model.name, wanted)
    lengths = [len(array) for array in examples]
    if min(lengths) == 0 or len(set(lengths)) > 1:
        raise UserError(
            f"{model.name}: calibration needs examples, as many for each input; received "
            f"{' and '.join(map(str, lengths))}."
        )
    refuse_not_finite(f"{model.name}: calibration examples", "inputs", list(map(np.asarray, examples)))
