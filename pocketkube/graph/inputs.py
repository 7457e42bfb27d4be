"""Refuses examples that are not what a model takes, before anything is computed from them."""

from collections.abc import Sequence

import keras
import numpy as np

from pocketkube.errors import UserError
from pocketkube.graph.walk import functional_graph
from pocketkube.shapes import shapes_fit


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
    shapes = [np.shape(array)[1:] for array in examples]
    if not shapes_fit(shapes, wanted):
        raise UserError(
            f"{model.name}: calibration examples have to be an array for each input, of the shapes "
            f"{wanted} an example; received {shapes}."
        )
    lengths = [len(array) for array in examples]
    if min(lengths) == 0 or len(set(lengths)) > 1:
        raise UserError(
            f"{model.name}: calibration needs examples, as many for each input; received "
            f"{' and '.join(map(str, lengths))}."
        )
    for position, array in enumerate(examples):
        if not np.isfinite(array).all():
            wrong = np.asarray(array)[~np.isfinite(array)].flat[0]
            raise UserError(
                f"{model.name}: calibration examples of input {position} have to be finite numbers; "
                f"received {wrong}."
            )
