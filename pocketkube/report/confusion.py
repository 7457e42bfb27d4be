"""Which classes the result takes for which."""

from collections.abc import Sequence

from pocketkube.report.markup import Cell, Markup, figure, listed, table

# With more classes, numbers do not fit into the cells on a phone, or cells not on a screen.
_MOST_NUMBERED, _MOST_DRAWN = 12, 60
_LISTED = 12
# Where a cell is darker than this its number has to be light.
_STRONG = 0.5


def confusion_matrix(matrix: Sequence[Sequence[int]], what: str = "example") -> str:
    """A grid of cells, the darker the more often, and what is confused most.

    Args:
        matrix: Rows of true classes, columns of predicted ones.
        what: What is counted: an example, or a pixel.

    Returns:
        The figure; where there are too many classes to be drawn, the list alone.
    """
    size = len(matrix)
    if size < 2:
        return ""
    confused = _most_confused(matrix, what)
    if size > _MOST_DRAWN:
        return confused
    keys = (("after", "right"), ("wrong", "taken for another class"))
    drawn = _numbered(matrix) if size <= _MOST_NUMBERED else _coloured(matrix, what)
    matrix_drawn = figure("Rows are true classes, columns predicted ones", drawn, keys=keys)
    return f'<div class="halves">{matrix_drawn}<div>{confused}</div></div>'


def _numbered(matrix: Sequence[Sequence[int]]) -> str:
    rows: list[list[Cell]] = [
        [str(row), *(_cell(value, counts, row == column) for column, value in enumerate(counts))]
        for row, counts in enumerate(matrix)
    ]
    drawn = table(("", *map(str, range(len(matrix)))), rows)
    return f'<div class="confusion" style="max-width:{4 * len(matrix) + 4}rem">{drawn}</div>'


def _cell(value: int, counts: Sequence[int], right: bool) -> Markup:
    if not value:
        return Markup("")
    strength = _strength(value, counts)
    kind = f"{'after' if right else 'wrong'}{' strong' if strength > _STRONG else ''}"
    return Markup(f'<span class="{kind}" style="--strength:{100 * strength:.0f}%">{value}</span>')


def _coloured(matrix: Sequence[Sequence[int]], what: str) -> str:
    """The same without numbers, which are in the list."""
    size = len(matrix)
    cells = "".join(
        f'<i class="{"after" if row == column else "wrong"}" '
        f'style="--strength:{100 * _strength(value, counts):.0f}%"></i>'
        if value
        else "<i></i>"
        for row, counts in enumerate(matrix)
        for column, value in enumerate(counts)
    )
    told = f"{_right(matrix, what)}; classes 0 to {size - 1} from top to bottom and from left to right"
    return (
        f'<div class="heat" role="img" aria-label="{told}" '
        f'style="grid-template-columns:repeat({size},1fr)">{cells}</div>'
        f'<p class="muted">Classes 0 to {size - 1}, from top to bottom and from left to right.</p>'
    )


def _strength(value: int, counts: Sequence[int]) -> float:
    return float((value / max(sum(counts), 1)) ** 0.5 * 0.9)


def _right(matrix: Sequence[Sequence[int]], what: str) -> str:
    right, total = sum(matrix[i][i] for i in range(len(matrix))), sum(map(sum, matrix))
    return f"{right} of {total} {what}s are right"


def _most_confused(matrix: Sequence[Sequence[int]], what: str) -> str:
    pairs = sorted(
        (-value, row, column)
        for row, counts in enumerate(matrix)
        for column, value in enumerate(counts)
        if row != column and value
    )[:_LISTED]
    if not pairs:
        return f"<p>No {what} is taken for another class.</p>"
    items = [
        f"class {row} taken for {column}: {-value} of {sum(matrix[row])}"
        for value, row, column in pairs
    ]
    return f"<p>{_right(matrix, what)}. Taken for another class most often:</p>{listed(items)}"
