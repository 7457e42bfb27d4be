"""A parameter of a Katib experiment: which values it may have, and how they are written."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

Kind = Literal["double", "int", "discrete", "categorical"]
Distribution = Literal["uniform", "logUniform", "normal", "logNormal"]

# A normal distribution lies between the bounds with three standard deviations at each side, as Katib's
# service for Hyperopt has it; here it is cut off there.
_NORMAL = NormalDist(0.5, 1 / 6)
_LOWEST, _HIGHEST = _NORMAL.cdf(0.0), _NORMAL.cdf(1.0)


@dataclass(frozen=True)
class Parameter:
    """One parameter. A place in it is a number in [0, 1], evenly spread over what is drawn.

    Attributes:
        name: Its name.
        kind: Its type.
        least: Smallest value of a number.
        most: Largest value of a number.
        step: Between neighbouring values; 0: any value (1 for whole numbers).
        values: Those of a discrete or categorical one, as they were written.
        distribution: Of a number.
    """

    name: str
    kind: Kind
    least: float = 0.0
    most: float = 0.0
    step: float = 0.0
    values: tuple[str, ...] = ()
    distribution: Distribution = "uniform"

    @property
    def is_number(self) -> bool:
        """Whether it has bounds; else it has a list."""
        return self.kind in ("double", "int")

    @property
    def is_log(self) -> bool:
        """Whether its logarithm is what is drawn."""
        return self.distribution in ("logUniform", "logNormal")

    @property
    def size(self) -> int:
        """How many values it can have; 0 where they are endless."""
        if not self.is_number:
            return len(self.values)
        if not self._step:
            return 0
        return math.floor((self.most - self.least) / self._step + 1e-9) + 1

    def value(self, index: int) -> str:
        """One of `size` values, as text."""
        return self.text(self.least + index * self._step) if self.is_number else self.values[index]

    def value_at(self, place: float) -> str:
        """The value at a place, as text.

        Args:
            place: In [0, 1].
        """
        place = min(max(place, 0.0), 1.0)
        if not self.is_number:
            return self.value(min(int(place * self.size), self.size - 1))
        if self.distribution in ("normal", "logNormal"):
            share = _LOWEST + place * (_HIGHEST - _LOWEST)
            place = min(max(_NORMAL.inv_cdf(share), 0.0), 1.0)
        elif not self.is_log and self.size:
            return self.value(min(int(place * self.size), self.size - 1))
        low, high = self.bounds
        return self.text_of(low + place * (high - low))

    def place_of(self, text: str) -> float:
        """The place of a value, in the middle of those that give it.

        Args:
            text: A value as `value_at` gives it.
        """
        if not self.is_number:
            return (self.values.index(text) + 0.5) / self.size
        if self.size and self.distribution == "uniform":
            return (round((float(text) - self.least) / self._step) + 0.5) / self.size
        low, high = self.bounds
        place = (self.scaled(text) - low) / (high - low) if high > low else 0.5
        if self.distribution in ("normal", "logNormal"):
            place = (_NORMAL.cdf(place) - _LOWEST) / (_HIGHEST - _LOWEST)
        return place

    @property
    def bounds(self) -> tuple[float, float]:
        """The bounds of a number; of its logarithm where that is what is drawn."""
        return self._scaled(self.least), self._scaled(self.most)

    def scaled(self, text: str) -> float:
        """A value, or its logarithm where that is what is drawn."""
        return self._scaled(min(max(float(text), self.least), self.most))

    def text_of(self, scaled: float) -> str:
        """The value of which `scaled` gives this number, as text."""
        return self.text(math.exp(scaled) if self.is_log else scaled)

    def text(self, value: float) -> str:
        """A number as the trial gets it: inside the bounds, on a step, without dust of floats."""
        if self._step:
            index = min(max(round((value - self.least) / self._step), 0), self.size - 1)
            value = self.least + index * self._step
        value = float(f"{min(max(value, self.least), self.most):.12g}")
        return str(int(value)) if self.kind == "int" else str(value)

    @property
    def _step(self) -> float:
        return self.step or (1.0 if self.kind == "int" else 0.0)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.is_log else value
