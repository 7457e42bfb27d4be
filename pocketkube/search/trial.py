"""A trial: what was tried, and what came of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["running", "done", "failed"]


@dataclass(frozen=True)
class Trial:
    """One assignment that was evaluated, or is being.

    Attributes:
        number: Counted from 0, in the order in which they were asked for.
        choice: The level of each parameter that was really applied, under the budget.
        state: How far it is.
        score: On the validation split, more is better; None until it is done.
        costs: What the network costs then, by the cost's name, as "macs" and "bytes".
        seconds: How long the evaluation took.
        sampler: What it was asked for by: "milp" for the first one of other samplers.
        cause: Why it failed, or ended before its time, in one line.
    """

    number: int
    choice: tuple[int, ...]
    state: State = "running"
    score: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    sampler: str = ""
    cause: str = ""

    @property
    def is_scored(self) -> bool:
        """Whether it has a score that can be compared; older journals hold some that are no number."""
        return self.state == "done" and self.score is not None and math.isfinite(self.score)


def number_of(text: str) -> float | None:
    """What a metric or a parameter's value is, as Katib writes it; None where it is no number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
