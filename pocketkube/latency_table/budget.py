"""Latency from a table as a budget: what any assignment of channels takes, without building a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pocketkube.graph.budgets import NS_PER_MS, Budget
from pocketkube.graph.cost_model import CostModel, Extent
from pocketkube.latency_table.table import LatencyTable, known_kinds


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
        kinds = known_kinds(self.table, [each.kind for each in self.operations])
        lengths = self.model.lengths(self._axes, counts)
        total_us = np.zeros(len(counts))
        for kind, (times, fixed) in self._sizes.items():
            sizes = np.tensordot(lengths, times, 1) + fixed
            total_us += kinds[kind].microseconds(sizes).sum(axis=1)
        return 1e3 * self.table.call(self.number_format).latency_us(total_us)

    def latency_ms(self, assignment: Mapping[str, int]) -> float:
        """The latency of one assignment in milliseconds."""
        return self.cost(assignment) / NS_PER_MS

    @cached_property
    def _axes(self) -> tuple[Extent, ...]:
        """The axes that sizes follow from."""
        axes = (length.axis for each in self.operations for sum_ in each.size for length in sum_)
        return tuple({repr(axis): axis for axis in axes if axis is not None}.values())

    @cached_property
    def _sizes(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each kind what its operations' sizes follow from.

        How often each axis counts, `[axes, operations, sizes]`, and what is fixed, `[operations,
        sizes]`.
        """
        numbers = {repr(axis): number for number, axis in enumerate(self._axes)}
        found = {}
        for kind in dict.fromkeys(each.kind for each in self.operations):
            alike = [each.size for each in self.operations if each.kind == kind]
            fixed = np.zeros((len(alike), len(alike[0])))
            times = np.zeros((len(numbers), *fixed.shape))
            for place in np.ndindex(fixed.shape):
                for length in alike[place[0]][place[1]]:
                    if length.axis is None:
                        fixed[place] += length.times
                    else:
                        times[numbers[repr(length.axis)], *place] += length.times
            found[kind] = times, fixed
        return found
