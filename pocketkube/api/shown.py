"""What every result of the API can do: show itself in a terminal and in a notebook."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from html import escape
from io import StringIO

from rich.table import Table

from pocketkube.console.terminal import Console
from pocketkube.report.markup import listed, table

WIDTH = 100


class Shown(ABC):
    """A result that is read as a table.

    `show()` prints it, a notebook shows it where it is the last value of a cell, `str()` gives its
    text, and a prompt one line of it.
    """

    @abstractmethod
    def table(self) -> Table:
        """The table, for a rich console."""

    @property
    @abstractmethod
    def in_brief(self) -> str:
        """What a prompt shows of it."""

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences below the table."""
        return ()

    def show(self) -> None:
        """Prints the table and what is to be said of it."""
        console = Console()
        console.print(self.table())
        for remark in self.remarks:
            console.print(f"note: {remark}", markup=False, highlight=False, soft_wrap=True)

    def __str__(self) -> str:
        text = StringIO()
        console = Console(file=text, width=WIDTH)
        console.print(self.table())
        for remark in self.remarks:
            console.print(f"note: {remark}", markup=False, highlight=False, soft_wrap=True)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.in_brief}>"

    def _repr_html_(self) -> str:
        return html_table(self.table()) + listed(self.remarks)


def html_table(shown: Table) -> str:
    """A rich table as the HTML table that the report has."""
    head = [str(column.header) for column in shown.columns]
    rows: list[Sequence[str]] = list(
        zip(*([str(cell) for cell in column.cells] for column in shown.columns), strict=True)
    )
    if shown.show_footer:
        rows.append([str(column.footer) for column in shown.columns])
    said = [str(text) for text in (shown.title, shown.caption) if text]
    return table(head, rows, caption=said[0] if shown.title else "") + _below(said[bool(shown.title) :])


def _below(texts: Iterable[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts)
