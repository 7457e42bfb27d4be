"""Who takes part: processes ask for their places when the group is made, and get them together."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

# More than any group's processes tell each other.
_MOST_VALUES = 1 << 16


@dataclass(frozen=True)
class JoinRequest:
    """What a process says when it asks for its rank.

    Attributes:
        section: How many pieces of common work it has done; all processes do the same ones in turn.
        reconnects: Whether its connections are no longer good, or it has none.
    """

    section: int
    reconnects: bool


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


class LostProcess(Exception):
    """The process that asks counts as lost."""


class Group:
    """The processes that work together, and those that are about to.

    Its methods may be called from any thread.

    Args:
        least: With fewer processes work waits for more.
        progress: Where counting begins; see below.
    """

    def __init__(self, least: int, progress: int = 0) -> None:
        self._least = least
        self._changed = threading.Condition()
        self._alive: list[str] = []
        self._members: list[str] = []
        self._requests: dict[str, JoinRequest] = {}
        self._places: dict[str, Place] = {}
        self._behind: set[str] = set()
        self._round = self._section = 0
        self._rounds_in_vain = 0
        self._progress = progress
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
                self._requests.pop(name, None)
                self._decide()
                self._changed.notify_all()

    def join(
        self, name: str, request: JoinRequest | None, seconds: float | None = None
    ) -> Place | None:
        """Waits until the group is made, and gives a process its place.

        Args:
            name: The process.
            request: What it says; None of one that asks again, because its time was over.
            seconds: How long to wait.

        Returns:
            The place; None where the others have done this piece of work, and go on with later ones.

        Raises:
            LostProcess: If the process counts as lost.
            TimeoutError: If the group is not made yet.
        """

        def is_answered() -> bool:
            return name in self._places or name in self._behind or name not in self._alive

        with self._changed:
            if name not in self._alive:
                raise LostProcess
            if request is not None:
                self._places.pop(name, None)
                self._requests[name] = request
                self._decide()
            if not self._changed.wait_for(is_answered, seconds):
                raise TimeoutError
            if name not in self._alive:
                raise LostProcess
            if name in self._behind:
                self._behind.remove(name)
                return None
            return self._places[name]

    def place_of(self, name: str) -> Place | None:
        """The place of a process in the group that there is."""
        with self._changed:
            return self._places.get(name)

    def is_to_change(self, round_: int) -> bool:
        """Whether others wait to take part in the work of a group; asked when work is committed."""
        with self._changed:
            self._progress += 1
            self._rounds_in_vain = 0
            return round_ != self._round or any(
                request.section == self._section
                for name, request in self._requests.items()
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
    def section(self) -> int:
        """The piece of common work that is being done, from 0."""
        with self._changed:
            return self._section

    @property
    def progress(self) -> int:
        """A number that rises with each commit, and each piece of common work."""
        with self._changed:
            return self._progress

    @property
    def rounds_in_vain(self) -> int:
        """How many groups were made since something was committed or done."""
        with self._changed:
            return self._rounds_in_vain

    def end_with_any(self) -> None:
        """Lets the work be ended by however few are left."""
        with self._changed:
            self._least = 1
            self._decide()

    @property
    def waits_for_more(self) -> bool:
        """Whether all ask, and are too few."""
        with self._changed:
            return 0 < len(self._alive) < self._least and set(self._requests) == set(self._alive)

    def put(self, key: str, value: bytes) -> None:
        """Keeps what processes tell each other to connect."""
        with self._changed:
            if len(self._store) < _MOST_VALUES:
                self._store[key] = value

    def get(self, key: str) -> bytes | None:
        """What was put, in this round."""
        with self._changed:
            return self._store.get(key)

    def _decide(self) -> None:
        """Makes the group where all that belong to it ask."""
        members = [name for name in self._members if name in self._alive]
        asked = members or self._alive
        if (self._members and not members) or not all(name in self._requests for name in asked):
            self._send_on_those_behind()
            return
        if not asked:
            return
        section = min(self._requests[name].section for name in asked)
        if section > self._section:
            self._section, self._rounds_in_vain = section, 0
            self._progress += 1
        self._send_on_those_behind()
        # One that the loss of another has not kept from ending a piece of work waits with the next.
        there = [name for name in self._alive if name in self._requests]
        there = [name for name in there if self._requests[name].section == section]
        group = [*(n for n in members if n in there), *(n for n in there if n not in members)]
        if len(group) < self._least:
            return
        if group != self._members or any(self._requests[name].reconnects for name in group):
            self._round += 1
            self._rounds_in_vain += 1
            self._store.clear()
            self._members = group
        for rank, name in enumerate(group):
            self._places[name] = Place(self._round, rank, len(group))
            del self._requests[name]
        self._changed.notify_all()

    def _send_on_those_behind(self) -> None:
        for name, request in list(self._requests.items()):
            if name not in self._members and request.section < self._section:
                self._behind.add(name)
                del self._requests[name]
                self._changed.notify_all()
