"""The few pieces of HTML that the page is made of; all text in them is escaped here."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

_BEFORE_A_UNIT = re.compile(r"(?<=\d) (?=(?:%|ms|s|[kMG]?B|[kMG]|points)(?!\w))")


@dataclass(frozen=True)
class Markup:
    """HTML that is finished, where a string would be escaped."""

    html: str


Cell = str | Markup


def html_of(content: Cell) -> str:
    """HTML of a cell: a string is escaped, and no line ends between a number and its unit."""
    if isinstance(content, Markup):
        return content.html
    return _BEFORE_A_UNIT.sub("\u00a0", escape(content))


def table(
    head: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str = "", stacks: bool = False
) -> str:
    """A table whose first column names the rows.

    Args:
        head: What the columns are called.
        rows: Their cells.
        caption: What it shows, where no title above says so.
        stacks: Whether on a narrow screen the cells of a row stand below each other, each with its
            column's name, instead of side by side.

    Returns:
        HTML; empty without rows.
    """
    body = "".join(_row(head, row) for row in rows)
    if not body:
        return ""
    caption_row = f"<caption>{escape(caption)}</caption>" if caption else ""
    columns = "".join(f'<th scope="col" role="columnheader">{escape(name)}</th>' for name in head)
    # A browser forgets that a table is one where its rows are laid out otherwise; the roles remain.
    return (
        f'<table role="table"{" class=stacks" if stacks else ""}>{caption_row}'
        f'<thead role="rowgroup"><tr role="row">{columns}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>'
    )


def _row(head: Sequence[str], cells: Sequence[Cell]) -> str:
    first, *others = cells
    shown = "".join(
        f'<td role="cell" data-label="{escape(name)}">{html_of(cell)}</td>'
        for name, cell in zip(head[1:], others, strict=True)
    )
    return f'<tr role="row"><th scope="row" role="rowheader">{html_of(first)}</th>{shown}</tr>'


def listed(lines: Iterable[str]) -> str:
    """A list of sentences; empty without any."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def page(title: str, body: str) -> str:
    """A whole page that needs nothing else.

    Args:
        title: What it is called.
        body: HTML of what it shows.
    """
    style = files("pocketkube.report").joinpath("style.css").read_text("utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )


def section(title: str, *parts: str, kind: str = "") -> str:
    """A part of the page with its title; empty where there is nothing in it."""
    content = "".join(parts)
    if not content:
        return ""
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{content}</section>'


def figure(title: str, *parts: str, keys: Sequence[tuple[str, str]] = ()) -> str:
    """A figure below its title and its key.

    Args:
        title: What it shows.
        parts: HTML.
        keys: What each kind of mark stands for: the kind, as the style sheet knows it, and its name.
    """
    shown = "".join(f'<span class="key {kind}">{escape(name)}</span>' for kind, name in keys)
    return (
        f'<figure><figcaption><strong>{escape(title)}</strong><span class="keys">{shown}</span>'
        f"</figcaption>{''.join(parts)}</figure>"
    )


def details(summary: str, content: str) -> str:
    """What is shown on demand."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>" if content else ""
