"""Compares a LiteRT file with the Keras model it was made from, on real examples."""

from dataclasses import dataclass

import keras
import numpy as np

from pocketkube.deploy.convert import Arrays
from pocketkube.errors import UserError
from pocketkube.litert import LiteRTModel
from pocketkube.measures import Classes, Measure, TaskMeasure
from pocketkube.structure import arranged

CLASSES = Classes()


@dataclass(frozen=True)
class Agreement:
    """How far a file does what its model does.

    Attributes:
        share: 1 is in full; see `Measure.agreement` for what it counts.
        examples: How many examples were compared.
    """

    share: float
    examples: int


def check_agreement(
    litert: bytes,
    model: keras.Model,
    inputs: Arrays,
    minimum: float,
    measure: Measure | TaskMeasure = CLASSES,
    remedy: str = "convert it anew",
) -> Agreement:
    """Runs file and model on the same examples, and refuses a file that strays.

    Args:
        litert: The file's content.
        model: The model it was converted from.
        inputs: One array `[N, ...]` for each input; test examples.
        minimum: Least share that is accepted.
        measure: What the model's outputs mean, and so what their agreement is.
        remedy: What the user can do about a file that strays.

    Returns:
        The share, and the number of examples.

    Raises:
        UserError: If the share is below the minimum, or the inputs do not fit the file.
    """
    if not 0 <= minimum <= 1:
        raise UserError(f"check_agreement: minimum has to be between 0 and 1; received {minimum}.")
    file = LiteRTModel(litert)
    file.fit_inputs(inputs, "The examples to compare on")
    examples = len(inputs[0])
    if examples == 0:
        raise UserError(f"{model.name}: there are no examples to compare the LiteRT file on.")
    runs = list(file.predict(inputs))
    taken = arranged(model, inputs)
    wanted = keras.tree.flatten(model.predict(taken, batch_size=256, verbose=0))
    given = [np.concatenate(one) for one in zip(*runs, strict=True)]
    share = measure.agreement(given, wanted)
    if share < minimum:
        raise UserError(
            f"{model.name}: the LiteRT file strays from the Keras model: {measure.agreement_name} "
            f"{share:.4f} on {examples} test examples, at least {minimum:g} is wanted; {remedy}."
        )
    return Agreement(share=share, examples=examples)
