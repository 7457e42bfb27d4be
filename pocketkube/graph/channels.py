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


@dataclass(frozen=True)
class Hold:
    """Why channels stay.

    Attributes:
        path: The layer or operation that holds them.
        kind: Its class; empty where they are several.
        why: What it does with them, in words that follow its name and a colon.
    """

    path: str
    kind: str
    why: str


class Ledger:
    """Numbers channels and remembers which are tied and which are fixed."""

    def __init__(self) -> None:
        self._blocks: list[int] = []
        self._first: dict[Hashable, int] = {}
        self._ties: list[np.ndarray] = []
        self._fixed: list[tuple[np.ndarray, Hold | None]] = []
        self._notes: list[Hold] = []
        self._size = 0

    def fresh(self, owner: Hashable, size: int) -> np.ndarray:
        """Numbers for the `size` channels that `owner` makes; the same ones at a second call."""
        if owner not in self._first:
            self._first[owner] = self._size
            self._blocks.append(size)
            self._size += size
        return np.arange(size) + self._first[owner]

    def known(self, owner: Hashable) -> np.ndarray | None:
        """The numbers of the channels that `owner` makes; None where it makes none so far."""
        if owner not in self._first:
            return None
        return np.arange(self._blocks[list(self._first).index(owner)]) + self._first[owner]

    def tie(self, one: np.ndarray, other: np.ndarray, hold: Hold | None = None) -> None:
        """Says that `one` and `other`, position by position, are kept or cut together.

        Args:
            one: Channel numbers.
            other: As many.
            hold: What is said where one of two may not be cut.
        """
        both = (one != FIXED) & (other != FIXED)
        self._ties.append(np.stack([one[both], other[both]]))
        self.fix(one[other == FIXED], hold)
        self.fix(other[one == FIXED], hold)

    def fix(self, ids: np.ndarray, hold: Hold | None = None) -> None:
        """Says that `ids` are never cut, and why; None where that goes without saying."""
        if len(known := ids[ids != FIXED]):
            self._fixed.append((known, hold))

    def note(self, hold: Hold) -> None:
        """Takes note of what makes channels that are in no numbers here."""
        self._notes.append(hold)

    def settle(self) -> "Units":
        """The units and groups that follow from all that was said."""
        size = self._size
        if size == 0:
            return Units(np.empty(0, int), np.empty(0, int), {}, np.empty(0, bool), tuple(self._notes))
        ties = np.concatenate([np.empty((2, 0), int), *self._ties], axis=1)
        classes = _components(ties, size)
        fixed, ends = np.zeros(size, bool), np.zeros(size, bool)
        for ids, hold in self._fixed:
            fixed[classes[ids]] = True
            if hold is None:
                ends[classes[ids]] = True
        holds = tuple(
            dict.fromkeys(
                [
                    *(h for ids, h in self._fixed if h is not None and not ends[classes[ids]].all()),
                    *self._notes,
                ]
            )
        )
        block_of = np.repeat(np.arange(len(self._blocks)), self._blocks)
        # Blocks are of one group where a tie joins them; within one, units are alike.
        group_of_block = _components(block_of[ties], len(self._blocks))
        names, unit_of_class = np.unique(classes[~fixed[classes]], return_inverse=True)
        unit_of = np.full(size, FIXED)
        unit_of[~fixed[classes]] = unit_of_class
        group_of_unit = group_of_block[block_of[names]]
        _, group_of_unit = np.unique(group_of_unit, return_inverse=True)
        made = {
            owner: first + np.arange(many)
            for (owner, first), many in zip(self._first.items(), self._blocks, strict=True)
        }
        return Units(unit_of, group_of_unit, made, ends[classes], holds)


@dataclass(frozen=True)
class Units:
    """What may be cut: the unit of every channel, and the group of every unit.

    Attributes:
        unit_of: Unit of each channel number, or FIXED.
        group_of: Group of each unit.
        made: Channel numbers of each owner.
        ends: Of each channel number, whether it stays without a reason that has to be given: it goes
            out of the model.
        holds: Why others stay.
    """

    unit_of: np.ndarray
    group_of: np.ndarray
    made: dict[Hashable, np.ndarray]
    ends: np.ndarray
    holds: tuple[Hold, ...]

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
