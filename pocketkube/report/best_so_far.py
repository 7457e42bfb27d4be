"""How good the best trial was after so many of them: one search, or several beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from pocketkube.measures import Wording
from pocketkube.report.lines_svg import Line, lines_svg
from pocketkube.report.markup import figure
from pocketkube.report.plot import Axis, band, line, plot, ticks


@dataclass(frozen=True)
class Curve:
    """A line over trials.

    Attributes:
        name: What it is of.
        middle: What people read for the score after each trial, from the first that has one.
        low: The lower edge of its spread; empty where it has none.
        high: The upper edge.
        first: The trial of the first value, counted from 1.
    """

    name: str
    middle: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    first: int = 1

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """Each trial, and the value after it."""
        return tuple(enumerate(self.middle, start=self.first))


def curve_of(name: str, scores: Sequence[float | None], wording: Wording) -> Curve:
    """The curve of one search.

    Args:
        name: What it is of.
        scores: The best after each trial; None before the first.
        wording: How the score is read.
    """
    known = tuple(wording.read(score) for score in scores if score is not None)
    return Curve(name, known, first=len(scores) - len(known) + 1)


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
        marks.append(band(x, y, list(zip(curve.low, curve.high, strict=True)), kind, curve.first))
        marks.append(line(x, y, curve.points, kind))
    ends = "; ".join(f"{curve.name} {curve.middle[-1]:.4g}" for curve in curves)
    alt = f"{title}: {wording.name} after {curves[0].points[-1][0]} trials: {ends}"
    keys = [(f"of{number} line", curve.name) for number, curve in enumerate(curves)]
    return figure(title, plot(x, y, marks, alt, "trial"), keys=keys if len(curves) > 1 else ())


def curves_svg(curves: Sequence[Curve], wording: Wording) -> str:
    """The curves as an SVG file of their own.

    Args:
        curves: At least one, at most seven.
        wording: How the score is read.
    """
    x, y = _axes(curves)
    lines = [Line(curve.name, curve.points, curve.low, curve.high) for curve in curves]
    return lines_svg(lines, x, y, ("trial", wording.name), "Best score so far")


def _axes(curves: Sequence[Curve]) -> tuple[Axis, Axis]:
    values = [value for curve in curves for value in (*curve.middle, *curve.low, *curve.high)]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    trials = max(curve.points[-1][0] for curve in curves)
    last = max(trials, 2)
    return (
        Axis(1, last, ticks(1, last, 5, least_step=1)),
        Axis(low - margin, high + margin, ticks(low - margin, high + margin)),
    )
