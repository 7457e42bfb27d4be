"""The Markdown that people read: its pages, their blocks of code, links and headings."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
OTHERS = [ROOT / "manifests" / "README.md", *sorted((ROOT / "pipelines").rglob("README.md"))]


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: Its page's file.
        line: The line in the file that its first line is.
        language: What the fence says.
        text: The code.
    """

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(language: str) -> list[Block]:
    """All blocks of a language in the README and the pages."""
    return [
        Block(page, token.map[0] + 2, token.info, token.content)
        for page in [README, *PAGES]
        for token in _tokens(page)
        if token.type == "fence" and token.info == language and token.map
    ]


def inline_code() -> list[tuple[Path, str]]:
    """What stands as code within sentences, and on which page."""
    return [
        (page, token.content)
        for page in [README, *PAGES]
        for token in _inline(page)
        if token.type == "code_inline"
    ]


def targets(page: Path) -> list[str]:
    """Where a page's links and images lead."""
    found = (token.attrs.get("href") or token.attrs.get("src") for token in _inline(page))
    html = re.findall(r'(?:src|href|srcset)="([^"]+)"', page.read_text("utf-8"))
    return [str(target) for target in found if target] + html


def headings(page: Path) -> list[str]:
    """A page's headings."""
    tokens = _tokens(page)
    return [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as code hosts and the site make them."""
    counts: Counter[str] = Counter()
    found = set()
    for heading in headings(page):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{counts[slug]}" if counts[slug] else slug)
        counts[slug] += 1
    return frozenset(found)


@cache
def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))


def _inline(page: Path) -> Iterator[Token]:
    for token in _tokens(page):
        yield from token.children or ()
