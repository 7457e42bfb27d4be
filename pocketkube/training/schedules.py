"""The learning rate over a course of training."""

import math

from pocketkube.spec.sections import Training

FINAL_PART = 1e-3
# Of Sandler et al. (2018).
EPOCH_DECAY = 0.98


def learning_rate(settings: Training, step: int, steps: int, batch_size: int) -> float:
    """The learning rate of a step.

    Args:
        settings: The schedule, its peak and its warm-up.
        step: The step, from 0.
        steps: Steps of the whole course.
        batch_size: Examples of each step's batch.

    Returns:
        The rate: linear up to the peak over the warm-up, then as the schedule says.
    """
    warmup = round(settings.warmup_fraction * steps)
    peak = settings.peak_learning_rate(batch_size)
    if step < warmup:
        return peak * (step + 1) / warmup
    part = (step - warmup) / max(steps - warmup, 1)
    match settings.schedule:
        case "constant":
            return peak
        case "step":
            return peak * 0.1 ** sum(step / steps >= part for part in settings.schedule_steps)
        case "exponential":
            return peak * EPOCH_DECAY ** (step * settings.epochs // steps)
        case "inverse_sqrt":
            # Of Vaswani et al. (2017), called Noam: both branches meet at the end of the warm-up.
            return peak * math.sqrt(max(warmup, 1) / (step + 1))
        case "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * part))
        case _:
            # One cycle (Smith, 2018): the way down ends far below where the way up began.
            return peak * (FINAL_PART + (1 - FINAL_PART) * 0.5 * (1 + math.cos(math.pi * part)))
