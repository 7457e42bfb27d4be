"""Which classes the result takes for which."""

from collections.abc import Sequence
from html import escape

from pocketkube.report.svg import figure, text

CELL, MARGIN, MOST, LISTED = 30, 40, 40, 12


def confusion_matrix(matrix: Sequence[Sequence[int]]) -> str:
    """A grid of cells, the darker the more often.

    Args:
        matrix: Rows of true classes, columns of predicted ones.

    Returns:
        The figure; where there are too many classes to be read, a list of what is confused most.
    """
    size = len(matrix)
    if size < 2:
        return ""
    if size > MOST:
        return _most_confused(matrix)
    parts = [text(MARGIN, 14, "Predicted class →", kind="muted")]
    for row, counts in enumerate(matrix):
        total = max(sum(counts), 1)
        y = MARGIN + row * CELL
        parts += [
            text(MARGIN - 6, y + 20, str(row), kind="muted", anchor="end"),
            text(MARGIN + row * CELL + CELL / 2, MARGIN - 6, str(row), kind="muted", anchor="middle"),
        ]
        for column, value in enumerate(counts):
            x, share = MARGIN + column * CELL, value / total
            kind = "after" if row == column else "wrong"
            told = escape(f"true {row}, predicted {column}: {value}")
            parts.append(
                f'<rect x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}" class="cell"/>'
                f'<rect x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}" class="{kind}" '
                f'fill-opacity="{share**0.5 * 0.9:.2f}"><title>{told}</title></rect>'
            )
            if value:
                middle = x + CELL / 2 - 1
                parts.append(text(middle, y + 19, str(value), kind="small", anchor="middle"))
    right = sum(matrix[i][i] for i in range(size))
    total = sum(map(sum, matrix))
    side = MARGIN + size * CELL
    return figure(
        "Confusion matrix", f"{right} of {total} right; rows are true classes", side, side, parts
    )


def _most_confused(matrix: Sequence[Sequence[int]]) -> str:
    pairs = sorted(
        (-value, row, column)
        for row, counts in enumerate(matrix)
        for column, value in enumerate(counts)
        if row != column and value
    )[:LISTED]
    items = "".join(
        f"<li>class {row} taken for {column}: {-value} of {sum(matrix[row])}</li>"
        for value, row, column in pairs
    )
    told = f"{len(matrix)} classes are too many for a figure; taken for another most often:"
    return (
        f"<p>{told}</p><ul>{items}</ul>" if items else "<p>No example is taken for another class.</p>"
    )
