"""The feasible space of one of an Experiment's parameters, and the values that it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pocketkube.errors import UserError

# What a value may lie beyond the ends or beside the steps, as texts are rounded.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Feasible:
    """A parameter of an Experiment.

    Attributes:
        name: Its name.
        kind: Its type; "list" stands for discrete and categorical.
        least: Its least value.
        greatest: Its greatest value.
        step: What lies between its values; None where all between the ends are feasible.
        texts: The values of a list, as they stand there.
    """

    name: str
    kind: Literal["double", "int", "list"]
    least: float
    greatest: float
    step: float | None = None
    texts: tuple[str, ...] = ()

    def text(self, value: float) -> str:
        """The feasible value that is nearest to a number, as Katib is told it."""
        if self.kind == "list":
            return min(self.texts, key=lambda text: abs(float(text) - value))
        value = min(max(value, self.least), self.greatest)
        if self.step is not None:
            steps = math.floor((self.greatest - self.least) / self.step + TOLERANCE)
            value = self.least + self.step * min(round((value - self.least) / self.step), steps)
        return str(round(value)) if self.kind == "int" else f"{value:.10g}"

    def takes(self, value: float) -> bool:
        """Whether a number is feasible, but for rounding."""
        return abs(float(self.text(value)) - value) <= TOLERANCE * max(abs(value), 1.0)

    def drawn(self, rng: np.random.Generator) -> str:
        """A feasible value at random."""
        return self.text(float(rng.uniform(self.least, self.greatest)))


def feasible(
    name: str, kind: str, least: str, greatest: str, step: str, texts: Sequence[str]
) -> Feasible:
    """Reads a parameter of a request, whose numbers are texts.

    Args:
        name: Its name.
        kind: Its type, in Katib's words: "DOUBLE", "INT", "DISCRETE", "CATEGORICAL".
        least: Its least value.
        greatest: Its greatest value.
        step: Its step; empty for none.
        texts: The values of a list.

    Raises:
        UserError: If one of them is no number, or there is no value between the ends.
    """
    if kind in ("DISCRETE", "CATEGORICAL"):
        values = [_number(name, "list", text) for text in texts]
        if not values:
            raise UserError(f"parameter {name}: its feasible space has an empty list")
        return Feasible(name, "list", min(values), max(values), None, tuple(texts))
    if kind not in ("DOUBLE", "INT"):
        raise UserError(f"parameter {name}: it has no type that is known; Katib says {kind}")
    low, high = _number(name, "min", least), _number(name, "max", greatest)
    if low > high:
        raise UserError(f"parameter {name}: its feasible space has min {least} above max {greatest}")
    between = _number(name, "step", step) if step else None
    if between is not None and between <= 0:
        raise UserError(f"parameter {name}: its step has to be above 0; received {step}")
    if kind == "INT":
        if between is not None and not between.is_integer():
            raise UserError(f"parameter {name}: the step of an int is whole; received {step}")
        return Feasible(name, "int", math.ceil(low), math.floor(high), between)
    return Feasible(name, "double", low, high, between)


def _number(name: str, key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"parameter {name}: {key} has to be a number; received {text!r:.40}")
    return value
