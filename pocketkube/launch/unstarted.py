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


class Waiting:
    """Why a job waits, and since when.

    Args:
        patience_s: For how long it may.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: float | None = None
        self._reason: Stuck | None = None
        self._said = ""

    def forget(self) -> None:
        """It waits no more."""
        self._since = self._reason = None

    def say(self, why: str) -> Iterator[str]:
        """A line for a wait of any length, once."""
        self.forget()
        if why != self._said:
            self._said = why
            yield f"waits: {why}"

    def because(self, reason: Stuck | None) -> Iterator[str]:
        """A line for what keeps it, where that lasts and is new."""
        now = time.monotonic()
        if reason is None:
            return
        self._since = self._since or now
        # What is known for sure is not forgotten for the sentence of a later event.
        if self._reason is None or cause_of_waiting(reason) is not Cause.NOT_STARTED:
            self._reason = reason
        if now - self._since > _QUIET_S and str(self._reason) != self._said:
            self._said = str(self._reason)
            yield f"waits: {self._said}"

    @property
    def given_up(self) -> Stuck | None:
        """What keeps it, where it has waited long enough."""
        if self._reason is None or self._since is None:
            return None
        no_image = cause_of_waiting(self._reason) is Cause.NO_IMAGE
        patience_s = min(self._patience_s, _IMAGE_S) if no_image else self._patience_s
        return self._reason if time.monotonic() - self._since > patience_s else None
