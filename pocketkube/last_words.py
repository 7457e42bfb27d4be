"""What a process that an error ends says last: one line; an unforeseen traceback goes to a file."""

import os
import platform
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from pocketkube import __version__
from pocketkube.errors import UserError, first_line
from pocketkube.plain_errors import in_words

FAULT, FAULT_CODE = "a fault of PocketKube, or of what it stands on", 1
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
    printed on standard error, too.
    """
    meaning = in_words(error)
    if meaning is not None:
        return LastWords(f"{UserError.PREFIX}{meaning}", meaning.EXIT_CODE, meaning)
    if _IN_A_POD in os.environ:
        traceback.print_exception(error)
    what = UserError(f"{type(error).__name__}: {first_line(error)}{_place_of(error)}")
    return LastWords(
        f"{UserError.PREFIX}{FAULT}: {what}. {_kept(error)}",
        FAULT_CODE,
        None,
    )


def _place_of(error: Exception) -> str:
    """Where it was raised, as far as it is ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents]
    if not ours:
        return ""
    return f" ({Path(ours[-1].filename).relative_to(_PACKAGE.parent)}, line {ours[-1].lineno})"


def _kept(error: Exception) -> str:
    text = (
        f"PocketKube {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        + "".join(traceback.format_exception(error))
    )
    try:
        handle, name = tempfile.mkstemp(prefix="pocketkube-fault-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        print(text, file=sys.stderr)
        return "Its traceback is above: no file could be written for it; please report both."
    return f"Its traceback is in {name}; please report it with that file."


_PACKAGE = Path(__file__).parent
