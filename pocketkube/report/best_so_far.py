"""How good the best trial was after so many of them: one search, or several beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pocketkube.measures import Wording
from pocketkube.report.markup import figure
from pocketkube.report.plot import Axis, band, line, plot, ticks

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 44
# Told apart also where colours are not; the same in the style sheet.
COLOURS = ("#0b6fb8", "#c2410c", "#2f7d32", "#7b3fa0", "#8a6d00", "#00808a", "#5b6570")


@dataclass(frozen=True)
class Curve:
    """A line over trials 1, 2, ….

    Attributes:
        name: What it is of.
        middle: What people read for the score after each trial.
        low: The lower edge of its spread; empty where it has none.
        high: The upper edge.
    """

    name: str
    middle: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def curves_figure(title: str, curves: Sequence[Curve], wording: Wording) -> str:
    """The curves as a part of a page.

    Args:
        title: What they show.
        curves: At least one, at most seven.
        wording: How the score is read.
    """
    x, y = _axes(curves)
    marks = []
    for number, curve in enumerate(curves):
        kind = f"of{number}"
        marks.append(band(x, y, list(zip(curve.low, curve.high, strict=True)), kind))
        marks.append(line(x, y, list(enumerate(curve.middle, start=1)), kind))
    ends = "; ".join(f"{curve.name} {curve.middle[-1]:.4g}" for curve in curves)
    alt = f"{title}: {wording.name} after {len(curves[0].middle)} trials: {ends}"
    keys = [(f"of{number} line", curve.name) for number, curve in enumerate(curves)]
    return figure(title, plot(x, y, marks, alt, "trial"), keys=keys if len(curves) > 1 else ())


def curves_svg(curves: Sequence[Curve], wording: Wording) -> str:
    """The curves as an SVG file of their own.

    Args:
        curves: At least one, at most seven.
        wording: How the score is read.
    """
    x, y = _axes(curves)
    parts = [
        *(_grid(y, tick) for tick in y.ticks),
        *(_label(_across(x, tick), HEIGHT - BOTTOM + 18, f"{tick:g}") for tick in x.ticks),
        _label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "trial"),
        _label(LEFT, TOP - 4, wording.name, "start"),
    ]
    for number, (curve, colour) in enumerate(zip(curves, COLOURS, strict=False)):
        places = [(_across(x, at), _up(y, value)) for at, value in enumerate(curve.middle, start=1)]
        edges = [(_across(x, at), _up(y, value)) for at, value in enumerate(curve.high, start=1)]
        edges += [(_across(x, at), _up(y, value)) for at, value in enumerate(curve.low, start=1)][::-1]
        if edges:
            parts.append(f'<path d="{_path(edges)}Z" fill="{colour}" opacity=".15"/>')
        parts.append(f'<path d="{_path(places)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(curves) > 1:
            at = TOP + 18 + 16 * number
            parts.append(_label(WIDTH - RIGHT - 8, HEIGHT - BOTTOM - at, curve.name, "end", colour))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12" role="img" aria-label="Best score so far">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _axes(curves: Sequence[Curve]) -> tuple[Axis, Axis]:
    values = [value for curve in curves for value in (*curve.middle, *curve.low, *curve.high)]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    trials = max(len(curve.middle) for curve in curves)
    last = max(trials, 2)
    return (
        Axis(1, last, ticks(1, last, 5, least_step=1)),
        Axis(low - margin, high + margin, ticks(low - margin, high + margin)),
    )


def _across(axis: Axis, value: float) -> float:
    return LEFT + axis.part(value) / 100 * (WIDTH - LEFT - RIGHT)


def _up(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.part(value) / 100 * (HEIGHT - TOP - BOTTOM)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{across:.1f} {up:.1f}" for across, up in places)


def _grid(y: Axis, tick: float) -> str:
    up = _up(y, tick)
    across = f'<path d="M{LEFT} {up:.1f}H{WIDTH - RIGHT}" stroke="#d9dde1"/>'
    return across + _label(LEFT - 8, up + 4, f"{tick:.4g}", "end")


def _label(across: float, up: float, text: str, anchor: str = "middle", colour: str = "#1d2228") -> str:
    return (
        f'<text x="{across:.1f}" y="{up:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )
