"""Runs a call in this process."""

from collections.abc import Iterator

from pocketkube.launch.outcome import Cause, Outcome, outcome_of_error
from pocketkube.stages.call import StageCall
from pocketkube.stages.remote import run_stage_at


class Inline:
    """Runs each call to its end while it is started; what it prints is printed at once."""

    def start(self, call: StageCall) -> "InlineJob":
        """See `Launcher`; what ends the call is the outcome, an interruption by Ctrl-C too."""
        try:
            run_stage_at(call)
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
