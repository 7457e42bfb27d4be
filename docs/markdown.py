"""Markdown of plain text: cells, code and tables."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    Args:
        head: What its columns are called.
        rows: Their cells, as `cell` or `code` gives them.
    """
    return "\n".join(
        f"| {' | '.join(row)} |" for row in ([*head], ["---"] * len(head), *map(list, rows))
    )


def cell(text: str) -> str:
    """Plain text that keeps its words where Markdown would read marks."""
    text = " ".join(text.split())
    for mark in ("\\", "|", "*", "<", ">", "_", "`", "[", "]"):
        text = text.replace(mark, f"\\{mark}")
    return text


def code(text: str) -> str:
    """Text as code in a cell."""
    text = " ".join(text.split()).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"
