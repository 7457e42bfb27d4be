"""Runs a call in this process."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from pocketkube.launch.job import Call
from pocketkube.launch.outcome import Cause, Outcome, outcome_of_error

OneCall = TypeVar("OneCall", bound=Call)


class Inline(Generic[OneCall]):
    """Runs each call to its end while it is started; what it prints is printed at once.

    Args:
        run: Runs a call, as `stages.remote.run_stage_at` does.
    """

    def __init__(self, run: Callable[[OneCall], object]) -> None:
        self._run = run

    def start(self, call: OneCall) -> "InlineJob":
        """See `Launcher`; what ends the call is the outcome, an interruption by Ctrl-C too."""
        try:
            self._run(call)
        except (Exception, KeyboardInterrupt) as error:
            return InlineJob(outcome_of_error(error))
        return InlineJob(Outcome(0, Cause.DONE))


class InlineJob:
    """A call that has ended.

    Attributes:
        outcome: See `Job`.
    """

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def follow(self) -> Iterator[str]:
        """See `Job`; all is printed already."""
        return iter(())

    def cancel(self) -> None:
        """See `Job`; it has ended."""
