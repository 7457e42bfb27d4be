"""What every launcher has in common: it starts a call as a job, which is followed to its outcome."""

from collections.abc import Iterator
from typing import Protocol

from pocketkube.launch.outcome import Outcome


class Call(Protocol):
    """A call of a stage, as `stages.call.StageCall` is one."""

    @property
    def stage(self) -> str:
        """The stage's name."""

    @property
    def shared(self) -> bool:
        """Whether several processes can share the stage's work."""

    def argv(self) -> list[str]:
        """The call as the words after `pocketkube`."""


class Job(Protocol):
    """A call that runs, or has ended."""

    def follow(self) -> Iterator[str]:
        """What it prints, line by line as it comes, until it ends.

        The lines of several processes are merged, each with its process's rank before it. The line with
        which a stage refuses its work is left out: it is the outcome's reason.
        """

    def cancel(self) -> None:
        """Ends it with all processes that it has started; does nothing where it has ended."""

    @property
    def outcome(self) -> Outcome:
        """How it ended; waits until it has."""


class Launcher(Protocol):
    """Says where calls run."""

    def start(self, call: Call) -> Job:
        """Starts a call.

        Raises:
            UserError: If what the launcher needs is missing, or the stage cannot run there.
        """
