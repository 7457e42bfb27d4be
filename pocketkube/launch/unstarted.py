"""Why something on a cluster waits, when to say so, and when to give it up."""

import time
from collections.abc import Iterator

from pocketkube.kube.pods import Stuck
from pocketkube.launch.endings import cause_of_waiting
from pocketkube.launch.outcome import Cause

# What keeps pods waiting is said when it lasts: a scheduler, too, needs a moment.
_QUIET_S = 5.0
# An image that cannot be had for so long is not being pushed right now.
_IMAGE_S = 120.0
# What has kept nothing for so long has passed: containers that crash run for a while in between.
_PASSED_S = 60.0


class Waiting:
    """Why a job waits, and since when.

    Args:
        patience_s: For how long it may.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        # Of each kind of reason, when it first and when it last kept the job.
        self._kept: dict[Cause, tuple[float, float]] = {}
        self._reason: Stuck | None = None
        self._waits, self._said = False, ""

    def forget(self) -> None:
        """It waits no more."""
        self._kept, self._reason, self._waits = {}, None, False

    def say(self, why: str) -> Iterator[str]:
        """A line for a wait of any length, once."""
        self.forget()
        if why != self._said:
            self._said = why
            yield f"waits: {why}"

    def because(self, reason: Stuck | None) -> Iterator[str]:
        """A line for what keeps it, where that lasts and is new.

        Args:
            reason: What keeps it now; None where nothing is known to.
        """
        now = time.monotonic()
        self._kept = {kind: at for kind, at in self._kept.items() if now - at[1] <= _PASSED_S}
        if self._reason is not None and cause_of_waiting(self._reason) not in self._kept:
            self._reason = None
        self._waits = reason is not None
        if reason is None:
            return
        # What is known for sure is not forgotten for the sentence of a later event.
        if self._reason is None or cause_of_waiting(reason) is not Cause.NOT_STARTED:
            self._reason = reason
        kind = cause_of_waiting(self._reason)
        self._kept[kind] = self._kept.get(kind, (now, now))[0], now
        if now - self._kept[kind][0] > _QUIET_S and str(self._reason) != self._said:
            self._said = str(self._reason)
            yield f"waits: {self._said}"

    @property
    def given_up(self) -> Stuck | None:
        """What keeps it, where it has waited long enough for things of that kind."""
        if self._reason is None or not self._waits:
            return None
        kind = cause_of_waiting(self._reason)
        patience_s = min(self._patience_s, _IMAGE_S) if kind is Cause.NO_IMAGE else self._patience_s
        return self._reason if time.monotonic() - self._kept[kind][0] > patience_s else None
