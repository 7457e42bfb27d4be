"""The one exception that stands for a user's mistake, and what its text may repeat."""


class UserError(Exception):
    """Something the user can put right: its text is one line that says what, where and how.

    The command line prints the text after `PREFIX`, without a traceback, and exits with `EXIT_CODE`.
    """

    EXIT_CODE = 2
    PREFIX = "pocketkube: "

    def __init__(self, message: str):
        super().__init__(" ".join(message.split()))


def repeatable(text: str) -> str:
    """A URI or URL as a message may repeat it: not where it may hold a password or a signature."""
    return "a URI with an @, ? or #" if set("@?#") & set(text) else text
