"""Channels of a tensor, and the units they form: channels that live or die together.

Every layer that makes new channels numbers them. The numbers travel through the graph with the
tensors, and operations tie some of them together (both sides of an Add) or fix them (an input, an
output, whatever is not understood). What is connected in the end is a unit, and units whose layers
are tied to each other are a group: the finest choice there is, for any graph.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

FIXED = -1


@dataclass(frozen=True)
class Channels:
    """The numbered channels along one axis of a tensor.

    Attributes:
        axis: The axis, counted from the end, so that broadcasting keeps it: -1 is the last.
        ids: The number of each position's channel, or FIXED.
    """

    axis: int
    ids: np.ndarray

    @classmethod
    def fixed(cls, axis: int, size: int) -> "Channels":
        """Channels that nobody may cut."""
        return cls(axis, np.full(size, FIXED))


class Ledger:
    """Numbers channels and remembers which are tied and which are fixed."""

    def __init__(self) -> None:
        self._blocks: list[int] = []
        self._first: dict[Hashable, int] = {}
        self._ties: list[np.ndarray] = []
        self._fixed: list[np.ndarray] = []
        self._size = 0

    def fresh(self, owner: Hashable, size: int) -> np.ndarray:
        """Numbers for the `size` channels that `owner` makes; the same ones at a second call."""
        if owner not in self._first:
            self._first[owner] = self._size
            self._blocks.append(size)
            self._size += size
        return np.arange(size) + self._first[owner]

    def tie(self, one: np.ndarray, other: np.ndarray) -> None:
        """Says that `one` and `other`, position by position, are kept or cut together."""
        both = (one != FIXED) & (other != FIXED)
        self._ties.append(np.stack([one[both], other[both]]))
        self.fix(one[other == FIXED])
        self.fix(other[one == FIXED])

    def fix(self, ids: np.ndarray) -> None:
        """Says that `ids` are never cut."""
        self._fixed.append(ids[ids != FIXED])

    def settle(self) -> "Units":
        """The units and groups that follow from all that was said."""
        size = self._size
        if size == 0:
            return Units(np.empty(0, int), np.empty(0, int), {}, {})
        ties = np.concatenate([np.empty((2, 0), int), *self._ties], axis=1)
        classes = _components(ties, size)
        fixed = np.zeros(size, bool)
        fixed[classes[np.concatenate([np.empty(0, int), *self._fixed])]] = True
        block_of = np.repeat(np.arange(len(self._blocks)), self._blocks)
        # Blocks are of one group where a tie joins them; within one, units are alike.
        group_of_block = _components(block_of[ties], len(self._blocks))
        names, unit_of_class = np.unique(classes[~fixed[classes]], return_inverse=True)
        unit_of = np.full(size, FIXED)
        unit_of[~fixed[classes]] = unit_of_class
        group_of_unit = group_of_block[block_of[names]]
        _, group_of_unit = np.unique(group_of_unit, return_inverse=True)
        sizes = dict(zip(self._first, self._blocks, strict=True))
        return Units(unit_of, group_of_unit, dict(self._first), sizes)


@dataclass(frozen=True)
class Units:
    """What may be cut: the unit of every channel, and the group of every unit.

    Attributes:
        unit_of: Unit of each channel number, or FIXED.
        group_of: Group of each unit.
        first: First channel number of each owner.
        sizes: How many channels each owner makes.
    """

    unit_of: np.ndarray
    group_of: np.ndarray
    first: dict[Hashable, int]
    sizes: dict[Hashable, int]

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(self.group_of)

    def of(self, channels: Channels) -> np.ndarray:
        """The unit of each position of `channels`, or FIXED."""
        units = np.full(len(channels.ids), FIXED)
        known = channels.ids != FIXED
        units[known] = self.unit_of[channels.ids[known]]
        return units


def _components(ties: np.ndarray, size: int) -> np.ndarray:
    """The lowest-numbered member of each element's connected component."""
    graph = coo_array((np.ones(ties.shape[1], bool), (ties[0], ties[1])), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    return first[labels]
