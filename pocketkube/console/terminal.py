"""What reaches a terminal: text from files cannot steer it, and a reader that has left is no error."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

import rich.console
from rich.text import Text


class ReaderLeft(BaseException):
    """Who read what this process prints has closed the pipe, as `head` does: no error, but the end.

    Attributes:
        stream: What was printed to.
    """

    def __init__(self, stream: Any):
        self.stream = stream
        super().__init__("nobody reads what is printed")


def visible(text: str) -> str:
    r"""A text with all that steers a terminal, or turns what follows round, written out.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _HIDDEN.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


# Controls besides tab and line break, marks and overrides of direction, line ends that Unicode alone
# knows, and halves of characters, as in names of files that are no UTF-8.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


class Console(rich.console.Console):
    """A console that shows each string as it is: markup and emoji names in it are nothing but text."""

    def __init__(self, file: Any = None, *, stderr: bool = False, width: int | None = None):
        """Writes past `visible_output`, for colours are its own.

        Args:
            file: Where to, as plain text unless it is a terminal; standard output where it is None.
            stderr: Whether it is standard error instead.
            width: In characters; the terminal's where it is None.
        """
        stream = file or (sys.stderr if stderr else sys.stdout)
        # What is written to a file is no more than text: Jupyter would show it, and FORCE_COLOR steer.
        elsewhere = None if file is None or file.isatty() else False
        super().__init__(
            file=cast(Any, _Encodable(_raw(stream))),
            width=width,
            markup=False,
            emoji=False,
            force_jupyter=elsewhere,
            force_terminal=elsewhere,
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Rich's, of the visible text."""
        return super().render_str(visible(text), **options)


@contextmanager
def visible_output() -> Iterator[None]:
    """Passes what is printed meanwhile through `visible`.

    Raises:
        ReaderLeft: As soon as something is printed that nobody reads any more.
    """
    with redirect_stdout(_visible(sys.stdout)), redirect_stderr(_visible(sys.stderr)):
        yield


def _visible(stream: TextIO | None) -> TextIO:
    # A process that was started without the stream has None, which print() takes.
    return cast(TextIO, stream if stream is None else _Visible(stream))


def _raw(stream: Any) -> Any:
    while isinstance(stream, _Encodable):
        stream = stream.raw
    return stream


class _Encodable:
    """A text stream in front of another one; characters that its encoding lacks are written out."""

    def __init__(self, raw: TextIO):
        self.raw = raw

    def write(self, text: str) -> int:
        """Writes the text as far as there are characters for it."""
        encoding = getattr(self.raw, "encoding", None) or "utf-8"
        try:
            self.raw.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except BrokenPipeError as error:
            raise ReaderLeft(self.raw) from error
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flushes the other one."""
        try:
            self.raw.flush()
        except BrokenPipeError as error:
            raise ReaderLeft(self.raw) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


class _Visible(_Encodable):
    """The same, of the visible text; it may return to the line's begin first, as libraries' bars do."""

    def write(self, text: str) -> int:
        r"""Writes the visible text, and each \r that stands first, or before a line's end."""
        pieces = _RETURNS.split(text)
        shown = [piece if place % 2 else visible(piece) for place, piece in enumerate(pieces)]
        super().write("".join(shown))
        return len(text)


_RETURNS = re.compile(r"(\A\r+|\r+(?=\n|\Z))")
