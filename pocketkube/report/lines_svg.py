"""Lines between two axes as an SVG file of its own, which needs no style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pocketkube.report.plot import Axis

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 44
# Told apart also where colours are not; the same in the style sheet.
COLOURS = ("#0b6fb8", "#c2410c", "#2f7d32", "#7b3fa0", "#8a6d00", "#00808a", "#5b6570")
# Lines beyond the colours take these again, dashed.
_DASHES = ("", "6 3", "2 3")


@dataclass(frozen=True)
class Line:
    """A line.

    Attributes:
        name: What it is of.
        points: Its points, from left to right.
        low: The lower edge of its spread at each; empty where it has none.
        high: The upper edge.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def lines_svg(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    names: tuple[str, str],
    alt: str,
    *,
    key_width: int = 0,
    marked: bool = False,
) -> str:
    """The lines as an SVG file.

    Args:
        lines: At least one.
        x: The axis from left to right.
        y: The axis upwards.
        names: What the two axes show.
        alt: What a screen reader says instead.
        key_width: Room for names beside the plot; without any they are in its lower right corner.
        marked: Whether points have dots.
    """
    parts = [
        *(_grid(y, tick, label) for tick, label in zip(y.ticks, y.labels, strict=True)),
        *(
            _label(_across(x, tick), HEIGHT - BOTTOM + 18, label)
            for tick, label in zip(x.ticks, x.labels, strict=True)
        ),
        _label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, names[0]),
        _label(LEFT, TOP - 4, names[1], "start"),
    ]
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        dashes = _DASHES[number // len(COLOURS) % len(_DASHES)]
        parts += _drawn(line, x, y, colour, dashes, marked)
        if len(lines) > 1:
            parts.append(_key(number, line.name, colour, key_width > 0))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + key_width} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="{escape(alt)}">'
        f'<rect width="{WIDTH + key_width}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _drawn(line: Line, x: Axis, y: Axis, colour: str, dashes: str, marked: bool) -> list[str]:
    places = [(_across(x, at), _up(y, value)) for at, value in line.points]
    xs = [at for at, _ in line.points]
    edges = [(_across(x, at), _up(y, value)) for at, value in zip(xs, line.high, strict=False)]
    edges += [(_across(x, at), _up(y, value)) for at, value in zip(xs, line.low, strict=False)][::-1]
    parts = []
    if edges:
        parts.append(f'<path d="{_path(edges)}Z" fill="{colour}" opacity=".15"/>')
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    parts.append(f'<path d="{_path(places)}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>')
    if marked:
        dots = "".join(f"M{across:.1f} {up:.1f}h0" for across, up in places)
        parts.append(f'<path d="{dots}" stroke="{colour}" stroke-width="6" stroke-linecap="round"/>')
    return parts


def _key(number: int, name: str, colour: str, is_beside: bool) -> str:
    at = 18 + 16 * number
    if is_beside:
        return _label(WIDTH, TOP + at, name, "start", colour)
    return _label(WIDTH - RIGHT - 8, HEIGHT - BOTTOM - TOP - at, name, "end", colour)


def _across(axis: Axis, value: float) -> float:
    return LEFT + axis.part(value) / 100 * (WIDTH - LEFT - RIGHT)


def _up(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.part(value) / 100 * (HEIGHT - TOP - BOTTOM)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{across:.1f} {up:.1f}" for across, up in places)


def _grid(y: Axis, tick: float, label: str) -> str:
    up = _up(y, tick)
    across = f'<path d="M{LEFT} {up:.1f}H{WIDTH - RIGHT}" stroke="#d9dde1"/>'
    return across + _label(LEFT - 8, up + 4, label, "end")


def _label(across: float, up: float, text: str, anchor: str = "middle", colour: str = "#1d2228") -> str:
    return (
        f'<text x="{across:.1f}" y="{up:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )
