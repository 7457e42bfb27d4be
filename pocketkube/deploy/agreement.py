"""Compares a LiteRT file with the Keras model it was made from, on real examples."""

from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np

from pocketkube.deploy.convert import Arrays
from pocketkube.errors import UserError
from pocketkube.litert import LiteRTModel
from pocketkube.predictions import predicted_classes


@dataclass(frozen=True)
class Agreement:
    """How far a file does what its model does.

    Attributes:
        share: 1 is in full; see `check_agreement` for what it counts.
        examples: How many examples were compared.
    """

    share: float
    examples: int


def check_agreement(
    litert: bytes,
    model: keras.Model,
    inputs: Arrays,
    minimum: float,
    kind: Literal["classification", "regression"] = "classification",
) -> Agreement:
    """Runs file and model on the same examples, and refuses a file that strays.

    Classification: the share of examples for which both name the same class in the first output,
    probabilities or logits. Regression: `1 - sum (file - model)^2 / sum (model - mean)^2` (the part
    of the outputs' variance that the file gives back; not below 0), of the output where it is least.

    Args:
        litert: The file's content.
        model: The model it was converted from.
        inputs: One array `[N, ...]` for each input; test examples.
        minimum: Least share that is accepted.
        kind: What the model's outputs mean.

    Returns:
        The share, and the number of examples.

    Raises:
        UserError: If the share is below the minimum, or the inputs do not fit the file.
    """
    file = LiteRTModel(litert)
    file.fit_inputs(inputs, "The examples to compare on")
    examples = len(inputs[0])
    if examples == 0:
        raise UserError(f"{model.name}: there are no examples to compare the LiteRT file on.")
    runs = list(file.predict(inputs))
    listed = keras.Model(model.inputs, model.outputs)
    wanted = keras.tree.flatten(listed.predict(list(inputs), batch_size=256, verbose=0))
    given = [np.concatenate(one) for one in zip(*runs, strict=True)]
    if kind == "classification":
        same = predicted_classes(given[0]) == predicted_classes(wanted[0])
        share = float(same.mean())
    else:
        share = min(_variance_kept(a, b) for a, b in zip(given, wanted, strict=True))
    if share < minimum:
        measure = "top-1 agreement" if kind == "classification" else "share of variance kept"
        raise UserError(
            f"{model.name}: the LiteRT file strays from the Keras model: {measure} {share:.4f} on "
            f"{examples} test examples, at least {minimum:g} is wanted; calibrate on more examples, "
            "use quantize_float16 or quantize_dynamic, or lower min_agreement."
        )
    return Agreement(share=share, examples=examples)


def _variance_kept(given: np.ndarray, wanted: np.ndarray) -> float:
    given, wanted = given.astype(np.float64), wanted.astype(np.float64)
    error = float(np.square(given - wanted).sum())
    spread = float(np.square(wanted - wanted.mean(axis=0)).sum())
    if not np.isfinite(error):
        return 0.0
    # One example, or a constant output, has no spread: then its size is the measure.
    spread = spread or float(np.square(wanted).sum())
    if spread == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return max(0.0, 1.0 - error / spread)
