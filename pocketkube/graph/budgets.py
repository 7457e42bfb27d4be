"""What an assignment costs, in one number: the budgets that allocation and search keep to.

A budget of another kind, as latency from a table, is one more class with the same methods.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pocketkube.graph.cost_model import CostModel

# Latencies are budgets in nanoseconds.
NS_PER_MS = 1e6


class Budget(Protocol):
    """A cost that shall not be more than so much: subclass it and write `costs`.

    Attributes:
        model: The network whose costs these are.
        name: What is counted, as "MACs".
        unit: In which unit; "" for a plain number.
    """

    model: CostModel
    name: str
    unit: str

    @property
    def unknown(self) -> tuple[str, ...]:
        """Name and kind of each layer that costs more than what is counted."""
        return ()

    @property
    def is_exact(self) -> bool:
        """Whether what is counted is no estimate, for every assignment."""
        return True

    def costs(self, counts: np.ndarray) -> np.ndarray:
        """The costs of several assignments.

        Args:
            counts: Units that each group keeps, `[assignments, groups]`.

        Returns:
            One cost for each assignment, `[assignments]`.
        """
        ...

    def cost(self, assignment: Mapping[str, int]) -> float:
        """The cost of one assignment: how many units each group keeps, by the group's name.

        Raises:
            UserError: If there is no such group, or it has not so many units.
        """
        return float(self.costs(self.model.counts(assignment)[None])[0])


@dataclass(frozen=True)
class Macs(Budget):
    """Multiply-adds at batch size 1."""

    model: CostModel
    name: str = "MACs"
    unit: str = ""

    @property
    def unknown(self) -> tuple[str, ...]:
        """Layers that may multiply what is not counted."""
        return self.model.unknown

    @property
    def is_exact(self) -> bool:
        """Whether all layers' multiply-adds are known however they are cut."""
        return self.model.is_exact

    def costs(self, counts: np.ndarray) -> np.ndarray:
        """Multiply-adds of each assignment."""
        return np.asarray(self.model.macs(counts), float)


@dataclass(frozen=True)
class Parameters(Budget):
    """Numbers in all weights, trainable or not."""

    model: CostModel
    name: str = "parameters"
    unit: str = ""

    def costs(self, counts: np.ndarray) -> np.ndarray:
        """Parameters of each assignment."""
        return np.asarray(self.model.parameters(counts), float)
