"""The one exception that stands for a user's mistake, what its text may repeat, and what of others'."""

from pathlib import Path


class UserError(Exception):
    """Something the user can put right: its text is one line that says what, where and how.

    The command line prints the text after `PREFIX`, without a traceback, and exits with `EXIT_CODE`.
    """

    EXIT_CODE = 2
    PREFIX = "pocketkube: "

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


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


def first_line(error: Exception) -> str:
    """The first line of an error's text; its type where it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
