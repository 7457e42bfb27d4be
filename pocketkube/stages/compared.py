"""Whether the examples that two models are compared on tell anything: the first may know others."""

import numpy as np

from pocketkube.data.in_memory import Labelled
from pocketkube.deploy.two_models import Runnable, measure_by, outputs_by
from pocketkube.stages.chance import EXAMPLES, same_answers, untold
from pocketkube.stages.value_range import Range, refuse_better_range

QUESTION = "are x, its range of values, and y, if any, those that the models were trained with?"


def doubts_of(
    reference: Runnable, examples: Labelled, origin: str, value_range: Range | None
) -> list[str]:
    """A warning for each output of the reference that tells nothing of the labels.

    Without labels, one for each that is all but the same on all examples.

    Args:
        reference: The first of the models.
        examples: Of many some are looked at, from all over: they may stand class by class.
        origin: What messages call them.
        value_range: What 0 and 255 of their images have become; None where they are as they stand.

    Raises:
        OtherRange: If the reference is clearly better with images in another range.
    """
    step = -(-len(examples.inputs[0]) // EXAMPLES)
    inputs, labels = (tuple(x[::step] for x in each) for each in (examples.inputs, examples.labels))
    some = Labelled(inputs, labels)

    def outputs(arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        return outputs_by(reference, arrays, origin)

    found = outputs(inputs)
    measure = measure_by(some, found, origin, reference)
    if not labels:
        doubts = same_answers(measure, found, "examples")
    else:
        refuse_better_range(outputs, measure, inputs, labels, origin, reference.name, value_range)
        doubts = untold(measure, labels, found, origin, what="examples")
    return [f"{sentence}: {QUESTION}" for sentence in doubts]
