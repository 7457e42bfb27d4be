"""What a process that an error ends says last: one line; an unforeseen traceback goes to a file."""

import os
import platform
import sys
import tempfile
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pocketkube import __version__
from pocketkube.errors import MachineError, OutOfMemory, UserError, first_line, without_secrets
from pocketkube.plain_errors import in_words

FAULT, FAULT_CODE = "a fault of PocketKube, or of what it stands on", 1
PERHAPS_FAULT = "If you have not named that path, please report this as a fault"
# Kubernetes sets it in every pod, whose files are gone when it ends.
_IN_A_POD = "KUBERNETES_SERVICE_HOST"


@dataclass(frozen=True)
class LastWords:
    """How a process ends.

    Attributes:
        line: What it says, with our prefix.
        exit_code: See `UserError`; `FAULT_CODE` where nobody foresaw the error.
        meaning: The user's mistake, or what the machine lacks; None where it is a fault.
    """

    line: str
    exit_code: int
    meaning: UserError | None


def last_words(error: Exception) -> LastWords:
    """What an error is to be answered with.

    The traceback of one that nobody foresaw is written to a file, which the line names; in a pod, it is
    printed on standard error. So is that of one whose meaning is not sure: a path that is not there may
    be the user's or one of ours, and memory may be asked for by mistake.
    """
    meaning = in_words(error)
    if meaning is None:
        text = without_secrets(first_line(error))
        what = UserError(f"{FAULT}: {type(error).__name__}: {text}{_place_of(error)}.")
        line = f"{UserError.PREFIX}{what} Its traceback is {_kept(error)}; please report both."
        return LastWords(line, FAULT_CODE, None)
    line = f"{UserError.PREFIX}{meaning}"
    if isinstance(meaning, OutOfMemory) and not isinstance(error, UserError):
        line += f" Its traceback is {_kept(error)}."
    elif isinstance(error, OSError) and not isinstance(meaning, MachineError):
        line += f" {PERHAPS_FAULT}; its traceback is {_kept(error)}."
    return LastWords(line, meaning.EXIT_CODE, meaning)


def _place_of(error: Exception) -> str:
    """Where it was raised, as far as it is ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents]
    if not ours:
        return ""
    return f" ({Path(ours[-1].filename).relative_to(_PACKAGE.parent)}, line {ours[-1].lineno})"


def _kept(error: Exception) -> str:
    """Keeps the traceback, and tells where."""
    text = without_secrets(
        "".join(traceback.format_exception(error))
        + f"PocketKube {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    )
    if _IN_A_POD not in os.environ:
        with suppress(OSError):
            handle, name = tempfile.mkstemp(prefix="pocketkube-fault-", suffix=".txt")
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
            return f"in {name}"
    print(text, file=sys.stderr)
    return "above"


_PACKAGE = Path(__file__).parents[1]
