"""A trial of a Katib experiment: its assignment, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pocketkube.search.local_katib.metrics import Observed

# Katib's conditions of a trial, of which the first two have a value of the objective. "Killed" is one
# that ran when the experiment had ended.
State = Literal["Succeeded", "EarlyStopped", "Failed", "MetricsUnavailable", "Killed", "Running"]


@dataclass(frozen=True)
class Trial:
    """One assignment that is tried, or was.

    Attributes:
        number: Counted from 1, in the order in which they were asked for.
        name: Its name, and that of its folder.
        assignment: The value of each parameter, by its name, as text.
        state: How far it is.
        value: What it is judged by; None where it has none.
        metrics: What was observed of each metric, by its name.
        first_mean: The mean of the first values of the objective's metric, by which later trials are
            stopped early; None where it has none.
        seconds: How long it ran.
        cause: Why it has no value, in one line.
    """

    number: int
    name: str
    assignment: Mapping[str, str]
    state: State = "Running"
    value: float | None = None
    metrics: Mapping[str, Observed] = field(default_factory=dict)
    first_mean: float | None = None
    seconds: float = 0.0
    cause: str = ""
