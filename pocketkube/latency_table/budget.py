"""Latency from a table as a budget: what any assignment of channels takes, without building a model."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pocketkube.graph.budgets import Budget
from pocketkube.graph.cost_model import CostModel, Extent
from pocketkube.latency_table.table import LatencyTable, sum_of_kinds


@dataclass(frozen=True)
class Length:
    """A number that follows how many channels are kept.

    Attributes:
        times: So many times the length of an axis.
        axis: The axis, of the cost model; None for a number that no channels change.
    """

    times: int
    axis: Extent | None


@dataclass(frozen=True)
class NetworkOperation:
    """One operation of a network's LiteRT file, at any number of channels.

    Attributes:
        kind: Its kind, as a latency table calls it.
        size: Its size along each of its kind's axes, a sum of lengths.
    """

    kind: str
    size: tuple[tuple[Length, ...], ...]


@dataclass(frozen=True)
class Latency(Budget):
    """The median latency of a network's LiteRT file, from a table.

    Attributes:
        model: The network.
        table: The times.
        operations: The operations of the file.
        number_format: The numbers that it computes in.
    """

    model: CostModel
    table: LatencyTable
    operations: tuple[NetworkOperation, ...]
    number_format: str
    name: str = "latency"
    unit: str = "ns"

    @property
    def is_exact(self) -> bool:
        """It is an estimate."""
        return False

    def costs(self, counts: np.ndarray) -> np.ndarray:
        """Nanoseconds for each assignment.

        Raises:
            UserError: If the table lacks the number format, or a kind of operation.
        """
        sizes = [
            np.stack([self._sum(lengths, counts) for lengths in each.size], axis=1)
            for each in self.operations
        ]
        total_us = sum_of_kinds(self.table, [each.kind for each in self.operations], sizes)
        return 1e3 * self.table.call(self.number_format).latency_us(total_us)

    def latency_ms(self, assignment: Mapping[str, int]) -> float:
        """The latency of one assignment in milliseconds."""
        return self.cost(assignment) / 1e6

    def _sum(self, lengths: tuple[Length, ...], counts: np.ndarray) -> np.ndarray:
        total = np.zeros(len(counts))
        for length in lengths:
            on_axis = 1.0 if length.axis is None else self.model.lengths([length.axis], counts)[:, 0]
            total = total + length.times * on_axis
        return total
