"""The learning rate over a course of training."""

import math

from pocketkube.spec.sections import Training

FINAL_PART = 1e-3


def learning_rate(settings: Training, step: int, steps: int) -> float:
    """The learning rate of a step.

    Args:
        settings: The schedule, its peak and its warm-up.
        step: The step, from 0.
        steps: Steps of the whole course.

    Returns:
        The rate: linear up to the peak over the warm-up, then as the schedule says.
    """
    warmup = round(settings.warmup_fraction * steps)
    peak = settings.peak_learning_rate
    if step < warmup:
        return peak * (step + 1) / warmup
    part = (step - warmup) / max(steps - warmup, 1)
    match settings.schedule:
        case "constant":
            return peak
        case "step":
            done = step / steps
            return peak * (0.01 if done >= 0.75 else 0.1 if done >= 0.5 else 1.0)
        case "inverse_sqrt":
            # Of Vaswani et al. (2017), called Noam: both branches meet at the end of the warm-up.
            return peak * math.sqrt(max(warmup, 1) / (step + 1))
        case "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * part))
        case _:
            # One cycle (Smith, 2018): the way down ends far below where the way up began.
            return peak * (FINAL_PART + (1 - FINAL_PART) * 0.5 * (1 + math.cos(math.pi * part)))
