"""Refuses training whose loss, gradients or weights are no numbers any more."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.spec.sections import Training

# Steps in a row that may be left out where gradients have 16 bits. Each one halves the scale of the
# loss, 2^15 at first: with so many, gradients are lost at its other end, too.
MOST_SKIPPED = 32


def refuse_loss(loss: float, step: int, settings: Training) -> None:
    """Refuses a step's loss that is no number.

    With mixed precision it may be infinite now and then: the step is left out, its scale lowered.

    Raises:
        UserError: If it is not finite.
    """
    if np.isnan(loss) or (np.isinf(loss) and not settings.mixed_precision):
        raise UserError(f"The loss is no number at step {step}: {_gentler(settings)}.")


@dataclass
class Applied:
    """Counts the steps that are left out since gradients are beyond what 16 bits hold.

    Attributes:
        steps: How many steps changed the weights.
        skipped: How many, the last ones, did not.
    """

    steps: int = 0
    skipped: int = 0

    def after_step(self, applied: int, settings: Training, *, last: bool) -> None:
        """Counts a step.

        Args:
            applied: How many steps the optimizer has taken by now.
            settings: What the user may change.
            last: Whether no step follows.

        Raises:
            UserError: If too many steps in a row were left out, or all there are.
        """
        self.skipped = 0 if applied > self.steps else self.skipped + 1
        self.steps = applied
        if self.skipped == MOST_SKIPPED or (last and applied == 0):
            raise UserError(
                f"The gradients of {self.skipped} steps in a row are no numbers in {_where(settings)}, "
                f"so that nothing is learnt: {_gentler(settings)}."
            )


def refuse_weights(variables: Iterable[Any], step: int, settings: Training) -> None:
    """Refuses weights and statistics that are no numbers.

    Raises:
        UserError: If one of them is not finite.
    """
    for variable in variables:
        value = tf.convert_to_tensor(variable)
        if value.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(value)):
            name = getattr(variable, "path", variable.name)
            raise UserError(f"{name} is no number after {step} steps: {_gentler(settings)}.")


def _where(settings: Training) -> str:
    return "mixed precision" if settings.mixed_precision else "16 bits"


def _gentler(settings: Training) -> str:
    tried = [f"lower training.learning_rate (now {settings.learning_rate})"]
    tried += ["set training.clip_norm"] if settings.clip_norm is None else []
    tried += ["set training.mixed_precision: false"] if settings.mixed_precision else []
    tried += ["leave out training.gradient_compression"] if settings.gradient_compression else []
    *others, last = tried
    return f"{', '.join(others)} or {last}" if others else last
