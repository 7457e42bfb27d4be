"""Who takes part: processes ask for their places when the group is made, and get them together."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wish:
    """What a process says when it asks for its rank.

    Attributes:
        section: How many pieces of common work it has done; all processes do the same ones in turn.
        anew: Whether its connections are no longer good, or it has none.
    """

    section: int
    anew: bool


@dataclass(frozen=True)
class Place:
    """A process's place in the group.

    Attributes:
        round: Which group it is, from 1; another number means other connections.
        rank: Its number, from 0. Those that were there before come first, in the order they had.
        size: How many there are.
    """

    round: int
    rank: int
    size: int


class Gone(Exception):
    """The process that asks counts as lost."""


class Group:
    """The processes that work together, and those that are about to.

    Its methods may be called from any thread.

    Args:
        least: With fewer processes work waits for more.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._changed = threading.Condition()
        self._alive: list[str] = []
        self._members: list[str] = []
        self._wishes: dict[str, Wish] = {}
        self._places: dict[str, Place] = {}
        self._behind: set[str] = set()
        self._round = self._section = 0
        self._store: dict[str, bytes] = {}

    def add(self, names: Sequence[str]) -> None:
        """Counts on processes that are being started."""
        with self._changed:
            self._alive += names

    def remove(self, name: str) -> None:
        """Counts on a process no longer."""
        with self._changed:
            if name in self._alive:
                self._alive.remove(name)
                self._wishes.pop(name, None)
                self._decide()
                self._changed.notify_all()

    def join(self, name: str, wish: Wish) -> Place | None:
        """Waits until the group is made, and gives a process its place.

        Returns:
            The place; None where the others have done this piece of work, and go on with later ones.

        Raises:
            Gone: If the process counts as lost.
        """
        with self._changed:
            self._places.pop(name, None)
            self._wishes[name] = wish
            self._decide()
            self._changed.wait_for(
                lambda: name in self._places or name in self._behind or name not in self._alive
            )
            if name not in self._alive:
                raise Gone
            if name in self._behind:
                self._behind.remove(name)
                return None
            return self._places[name]

    def place_of(self, name: str) -> Place | None:
        """The place of a process in the group that there is."""
        with self._changed:
            return self._places.get(name)

    def is_to_change(self, round_: int) -> bool:
        """Whether others wait to take part in the work of a group."""
        with self._changed:
            return round_ != self._round or any(
                wish.section == self._section
                for name, wish in self._wishes.items()
                if name not in self._members
            )

    @property
    def members(self) -> list[str]:
        """Those of the group that was last made, by rank; some may be gone."""
        with self._changed:
            return list(self._members)

    @property
    def is_orphaned(self) -> bool:
        """Whether none is left of those that have what was learnt."""
        with self._changed:
            return bool(self._members) and not set(self._members) & set(self._alive)

    @property
    def waits_for_more(self) -> bool:
        """Whether all ask, and are too few."""
        with self._changed:
            return 0 < len(self._alive) < self._least and set(self._wishes) == set(self._alive)

    def put(self, key: str, value: bytes) -> None:
        """Keeps what processes tell each other to connect."""
        with self._changed:
            self._store[key] = value

    def get(self, key: str) -> bytes | None:
        """What was put, in this round."""
        with self._changed:
            return self._store.get(key)

    def _decide(self) -> None:
        """Makes the group where all that belong to it ask."""
        members = [name for name in self._members if name in self._alive]
        asked = members or self._alive
        if (self._members and not members) or not all(name in self._wishes for name in asked):
            self._send_on_those_behind()
            return
        if not asked:
            return
        section = min(self._wishes[name].section for name in asked)
        new = [n for n in self._wishes if n not in members and self._wishes[n].section == section]
        group = [*members, *new]
        if len(group) < self._least:
            return
        self._section = section
        if group != self._members or any(self._wishes[name].anew for name in group):
            self._round += 1
            self._store.clear()
            self._members = group
        for rank, name in enumerate(group):
            self._places[name] = Place(self._round, rank, len(group))
            del self._wishes[name]
        self._send_on_those_behind()
        self._changed.notify_all()

    def _send_on_those_behind(self) -> None:
        for name, wish in list(self._wishes.items()):
            if name not in self._members and wish.section < self._section:
                self._behind.add(name)
                del self._wishes[name]
                self._changed.notify_all()
