"""How a job ended, and why."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pocketkube.errors import DataError, MachineError, OutOfMemory, UserError
from pocketkube.plain_errors import in_words, says_out_of_memory


class Cause(StrEnum):
    """Why a job ended."""

    DONE = "done"
    USER_ERROR = "user_error"
    BAD_DATA = "bad_data"
    OUT_OF_MEMORY = "out_of_memory"
    # A process was killed from outside, as when its machine is drained or lost.
    NODE_LOST = "node_lost"
    INTERRUPTED = "interrupted"
    # It was given a time, and took longer.
    TIME_OUT = "time_out"
    # What keeps a cluster's pods from starting: no image, no node, no quota, or something else.
    NO_IMAGE = "no_image"
    NO_NODE = "no_node"
    NO_QUOTA = "no_quota"
    NOT_STARTED = "not_started"
    # A fault of this program or of a library.
    FAULT = "fault"


# Of jobs that printed nothing to look at.
SILENT = (Cause.NO_IMAGE, Cause.NO_NODE, Cause.NO_QUOTA, Cause.NOT_STARTED)


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        exit_code: 0 where it is done; 128 + n where signal n ended it.
        cause: Why it ended.
        reason: A sentence for people; empty where it is done.
    """

    exit_code: int
    cause: Cause
    reason: str = ""


def outcome_of_process(exit_code: int, lines: Sequence[str], *, oom_killed: bool) -> Outcome:
    """Tells from a command's end why it ended.

    Args:
        exit_code: The command's; negative where a signal ended it, as subprocess gives it.
        lines: What its processes printed, or the end of it.
        oom_killed: Whether the kernel has killed a process meanwhile for want of memory.
    """
    code = exit_code if exit_code >= 0 else 128 - exit_code
    if code == 0:
        return Outcome(code, Cause.DONE)
    refusals = [
        line.removeprefix(UserError.PREFIX) for line in lines if line.startswith(UserError.PREFIX)
    ]
    if code in (UserError.EXIT_CODE, DataError.RANK_EXIT_CODE) and refusals:
        is_data = code == DataError.RANK_EXIT_CODE
        return Outcome(code, Cause.BAD_DATA if is_data else Cause.USER_ERROR, refusals[0])
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return Outcome(code, Cause.INTERRUPTED, "It was interrupted.")
    if code == MachineError.EXIT_CODE and refusals:
        is_memory = OutOfMemory.WORDS in refusals[0]
        return Outcome(code, Cause.OUT_OF_MEMORY if is_memory else Cause.FAULT, refusals[0])
    starved = next((line for line in lines if says_out_of_memory(line)), None)
    if starved is not None:
        return Outcome(code, Cause.OUT_OF_MEMORY, f"Memory ran out: {starved.strip()[:300]}")
    if code == 128 + signal.SIGKILL:
        if oom_killed:
            return Outcome(code, Cause.OUT_OF_MEMORY, "Memory ran out: the kernel killed a process.")
        return Outcome(code, Cause.NODE_LOST, "A process was killed from outside.")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    return Outcome(code, Cause.FAULT, f"A process ended with code {code}: {last[:300]}")


def outcome_of_error(error: BaseException) -> Outcome:
    """Tells from an exception why a call in this process ended."""
    if isinstance(error, KeyboardInterrupt):
        return Outcome(128 + signal.SIGINT, Cause.INTERRUPTED, "It was interrupted.")
    match meaning := in_words(error):
        case None:
            text = str(error) or type(error).__name__
            return Outcome(1, Cause.FAULT, f"{type(error).__name__}: {text}")
        case DataError():
            cause = Cause.BAD_DATA
        case OutOfMemory():
            cause = Cause.OUT_OF_MEMORY
        case MachineError():
            cause = Cause.FAULT
        case _:
            cause = Cause.USER_ERROR
    return Outcome(meaning.EXIT_CODE, cause, str(meaning))


def count_oom_kills() -> int:
    """How many processes the kernel has killed for want of memory: in this cgroup, else the machine."""
    for file in (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat")):
        try:
            found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0
