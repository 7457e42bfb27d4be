"""Refuses examples that are not what a model takes, before anything is computed from them."""

from collections.abc import Sequence

import keras
import numpy as np

from pocketkube.errors import UserError
from pocketkube.finite import refuse_not_finite
from pocketkube.graph.kinds import is_one_of
from pocketkube.graph.walk import functional_graph
from pocketkube.keras_private import calls_of, flat_layers
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
    refuse_unknown_ids(f"{model.name}: calibration examples", model, list(map(np.asarray, examples)))


def refuse_unknown_ids(origin: str, model: keras.Model, inputs: Sequence[np.ndarray]) -> None:
    """Says when numbers that a model looks up in a table are none of its rows.

    Args:
        origin: What messages call the examples.
        model: The model.
        inputs: An array `[N, ...]` for each of its inputs, of the shapes that it takes.

    Raises:
        UserError: If an input that goes straight into an Embedding has a number beyond its rows.
    """
    for layer in flat_layers(model, include_self=False):
        if not is_one_of(layer, keras.layers.Embedding):
            continue
        read = {id(tensor) for call in calls_of(layer) for tensor in call.input_tensors}
        for tensor, array in zip(model.inputs, inputs, strict=True):
            if id(tensor) not in read or not array.size:
                continue
            least, most = int(array.min()), int(array.max())
            if least < 0 or most >= layer.input_dim:
                raise UserError(
                    f"{origin}: numbers run from {least} to {most}, but {layer.name} of {model.name} "
                    f"knows 0 to {layer.input_dim - 1}."
                )
