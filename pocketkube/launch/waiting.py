"""Waits for a job as if its call ran in this process."""

import sys

from pocketkube.errors import DataError, MachineError, OutOfMemory, UserError
from pocketkube.launch.job import Job
from pocketkube.launch.outcome import SILENT, Cause, Outcome


def wait_for(job: Job) -> None:
    """Shows what a job prints on standard error until it ends; it ends with this process.

    Raises:
        UserError: If it was not done; the text says why. A `MachineError` where it is nobody's mistake.
    """
    outcome = show(job)
    match outcome.cause:
        case Cause.DONE:
            return
        case Cause.BAD_DATA:
            raise DataError(outcome.reason)
        case Cause.USER_ERROR:
            raise UserError(outcome.reason)
        case cause if cause in SILENT:
            raise UserError(outcome.reason)
        case Cause.OUT_OF_MEMORY:
            raise OutOfMemory(f"{outcome.reason} {_ABOVE}")
        case _:
            raise MachineError(f"{outcome.reason} {_ABOVE}")


_ABOVE = "The last lines of the job's processes are above."


def show(job: Job, *, outlives: tuple[type[BaseException], ...] = ()) -> Outcome:
    """Shows what a job prints on standard error until it ends, and cancels it with what ends this.

    Args:
        job: The job.
        outlives: Errors that leave it as it is, for whoever follows it next.
    """
    try:
        for line in job.follow():
            print(line, file=sys.stderr, flush=True)
        return job.outcome
    except outlives:
        raise
    except BaseException:
        job.cancel()
        raise
