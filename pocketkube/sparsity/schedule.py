"""The schedule of gradual pruning: how sparse a model is to be at each step."""

import math


def sparsity_at(step: int, *, final: float, begin: int, end: int, power: float = 3.0) -> float:
    """The sparsity that gradual pruning asks for at a step (Zhu & Gupta, 2017).

    `s(t) = s_f (1 - (1 - clip((t - t_b) / (t_e - t_b), 0, 1))^power)`

    Args:
        step: The step, t.
        final: The sparsity at the end, s_f.
        begin: The step at which it starts to rise, t_b.
        end: The step from which on it stays, t_e.
        power: How much more is removed early than late.
    """
    # Where training is so short that it begins at its end, the end counts.
    along = 1.0 if step >= end else max((step - begin) / (end - begin), 0.0)
    return final * (1 - (1 - along) ** power)


def updates_masks(step: int, *, begin: int, end: int, every: int) -> bool:
    """Whether masks are chosen anew before a step: every so often, for the last time at `end`."""
    return step == end or (begin <= step < end and (step - begin) % every == 0)


def schedule_steps(steps: int, begin_fraction: float, end_fraction: float) -> tuple[int, int]:
    """First and last step of the rise; at least one step is left to train with the last masks."""
    end = min(math.ceil(steps * end_fraction), steps - 1)
    return min(math.floor(steps * begin_fraction), end), end
