"""The one exception that stands for a user's mistake, what its text may repeat, and what of others'."""

import difflib
import re
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Self


class UserError(Exception):
    """Something the user can put right: its text is one line that says what, where and how.

    The command line prints the text after `PREFIX`, without a traceback, and exits with `EXIT_CODE`.
    """

    EXIT_CODE = 2
    PREFIX = "pocketkube: "

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))

    def saying(self, message: str) -> Self:
        """The same kind of error with another text, for who knows more of where it happened."""
        other = type(self).__new__(type(self), " ".join(message.split()))
        other.__dict__.update(self.__dict__)
        return other


class MachineError(UserError):
    """What was asked for is right, but this machine lacks what it takes: a disk's space, a limit."""

    EXIT_CODE = 1


class OutOfMemory(MachineError):
    """Memory ran out; the text has `WORDS`."""

    WORDS = "Memory ran out"


class DataError(UserError):
    """A data set is missing, damaged, or not what the spec says.

    A shell is given the `EXIT_CODE` of any mistake; one of several ranks tells its launcher more.
    """

    # EX_DATAERR of sysexits.h.
    RANK_EXIT_CODE = 65


class RejectedFile(UserError):
    """A file was made that is not good enough; it is worth a look.

    Attributes:
        reason: Why.
        content: The file's content.
    """

    def __init__(self, reason: str, content: bytes, kept: Path | None = None):
        self.reason, self.content = reason, content
        super().__init__(
            reason if kept is None else f"{reason} The file is kept as {kept}, to look at."
        )

    def keep(self, place: Path) -> "RejectedFile":
        """Writes the file, and returns what to raise then."""
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.content)
        return RejectedFile(self.reason, self.content, place)


def repeatable(text: str) -> str:
    """A URI or URL as a message may repeat it: not where it may hold a password or a signature."""
    return "a URI with an @, ? or #" if set("@?#") & set(text) else text


def without_secrets(text: str) -> str:
    """A text with the URIs in it as a message may repeat them: without users, passwords and queries."""
    return _QUERY.sub(r"\1…", _USER.sub(r"\1…@", text))


def did_you_mean(name: str, known: Collection[str], most: int = 1) -> str:
    """A question that names what may have been meant; empty where nothing known is like a name."""
    close = difflib.get_close_matches(name, known, n=most)
    return f"did you mean {' or '.join(close)}?" if close else ""


def to_use_instead(name: str, known: Collection[str]) -> str:
    """How the sentence goes on that says that a name is not known; empty where there is none to use."""
    listed = f"one of {', '.join(known)}" if len(known) > 1 else "".join(known)
    if not listed:
        return ""
    question = did_you_mean(name, known) if len(known) > 1 else ""
    return f"; {question} Use {listed}" if question else f"; use {listed}"


def first_line(error: BaseException | str) -> str:
    """The line of an error's text that tells the cause; its type where it has none.

    Keras and TensorFlow put what they were doing before the cause: that is left out.
    """
    text = _NOISE.sub("", str(error)).strip()
    text = text.rpartition("Exception encountered: ")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("in user code"):
        # Lines of code follow, and then the error.
        found = [place for place, line in enumerate(lines) if _NAMED.match(line)]
        lines = lines[found[0] :] if found else lines[-1:]
        lines[0] = _NAMED.sub("", lines[0])
    if len(lines) > 1 and lines[0].startswith("Exception encountered when calling"):
        del lines[0]
    if len(lines) > 1 and _UNLOADED.match(lines[0]):
        del lines[0]
    if not lines:
        return "" if isinstance(error, str) else type(error).__name__
    return textwrap.shorten(lines[0], _LONGEST, placeholder=" …")


# Colours, and where TensorFlow says in which of its functions and operations it was.
_NOISE = re.compile(
    r"\x1b\[[0-9;]*m|\{\{function_node [^}]*\}\} ?| ?\[Op:[^\]]*\]| on /job:\S+ by allocator \w+"
)
# What Keras says before the cause that the first of several objects of a file has.
_UNLOADED = re.compile(r"A total of \d+ objects could not be loaded.*:$")
_NAMED = re.compile(r"[A-Za-z_.]*(Error|Exception): ")
_LONGEST = 400
# Bounded, for a text may hold a file's content.
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://)[^\s'\"<>]*@", re.IGNORECASE)
# Some libraries leave out the server.
_QUERY = re.compile(r"(/[^\s?'\"<>]{0,2000}\?)[^\s'\"<>]+")
