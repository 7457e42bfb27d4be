"""A plot: marks in SVG that stretch with the page, and labels that the browser sets as text.

Text is no part of the SVG: it keeps the page's size on a phone as on a wide screen, and the browser,
which alone knows how wide it is, keeps it apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Axis:
    """Where values lie between the ends of an axis.

    Attributes:
        low: The value at its beginning.
        high: The one at its end, above `low`.
        ticks: Values that are labelled.
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    def part(self, value: float) -> float:
        """How far along the axis a value lies, in percent."""
        return 100 * (value - self.low) / (self.high - self.low)

    @property
    def labels(self) -> tuple[str, ...]:
        """The ticks as text, with no more digits than tell them apart."""
        largest = max(map(abs, self.ticks), default=0.0)
        step = min((b - a for a, b in pairwise(self.ticks)), default=largest)
        if not (largest and step):
            return tuple(f"{tick:g}" for tick in self.ticks)
        before = math.floor(math.log10(largest)) + 1
        digits = max(4, before if before <= 6 else 0, before - math.floor(math.log10(step)))
        return tuple(f"{tick:.{digits}g}" for tick in self.ticks)


def plot(x: Axis, y: Axis | None, marks: Sequence[str], alt: str, x_name: str) -> str:
    """Marks between two axes.

    Args:
        x: The axis from left to right.
        y: The axis upwards; None where heights need no scale.
        marks: What `line` and `bars` gave.
        alt: What a screen reader says instead.
        x_name: What the axis below shows, with its unit.
    """
    labels = y.labels if y else ()
    grid = (
        "".join(f'<path class="grid" d="M0 {100 - y.part(tick):.2f}H100"/>' for tick in y.ticks)
        if y
        else '<path class="grid" d="M0 100H100"/>'
    )
    upwards = (
        "".join(
            f'<span style="bottom:{y.part(tick):.2f}%">{label}</span>'
            for tick, label in zip(y.ticks, labels, strict=True)
        )
        if y
        else ""
    )
    across = "".join(
        f'<span style="left:{x.part(tick):.2f}%">{label}</span>'
        for tick, label in zip(x.ticks, x.labels, strict=True)
    )
    room = max((len(label) for label in labels), default=0)
    return (
        f'<div class="plot"><div class="y" aria-hidden="true" style="width:{room}ch">{upwards}</div>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{escape(alt)}">'
        f"{grid}{''.join(marks)}</svg>"
        f'<div class="x" aria-hidden="true">{across}</div>'
        f'<div class="name" aria-hidden="true">{escape(x_name)}</div></div>'
    )


def line(x: Axis, y: Axis, points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points with a dot on each, as far as there is room for dots."""
    placed = [f"{x.part(a):.2f} {100 - y.part(b):.2f}" for a, b in points]
    if not placed:
        return ""
    through = f'<path class="line {kind}" d="M{"L".join(placed)}"/>' if len(placed) > 1 else ""
    dots = "".join(f"M{place}h0" for place in placed) if len(placed) <= MOST_DOTS else ""
    return through + (f'<path class="dots {kind}" d="{dots}"/>' if dots else "")


MOST_DOTS = 30


def dots(x: Axis, y: Axis, points: Sequence[tuple[float, float]], kind: str) -> str:
    """A dot on each point."""
    placed = "".join(f"M{x.part(a):.2f} {100 - y.part(b):.2f}h0" for a, b in points)
    return f'<path class="dots {kind}" d="{placed}"/>'


def band(x: Axis, y: Axis, edges: Sequence[tuple[float, float]], kind: str, first: int = 1) -> str:
    """What lies between two edges at `first`, the next, …; nothing where there are none."""
    if not edges:
        return ""
    places = list(enumerate(edges, start=first))
    upper = [f"{x.part(at):.2f} {100 - y.part(high):.2f}" for at, (_, high) in places]
    lower = [f"{x.part(at):.2f} {100 - y.part(low):.2f}" for at, (low, _) in reversed(places)]
    return f'<path class="band {kind}" d="M{"L".join([*upper, *lower])}Z"/>'


def upright(x: Axis, value: float, kind: str) -> str:
    """A line from bottom to top."""
    return f'<path class="{kind}" d="M{x.part(value):.2f} 0V100"/>'


def bars(heights: Sequence[float], kind: str) -> str:
    """Bars side by side from left to right, the highest as high as the plot."""
    top, step = max(heights, default=0) or 1.0, 100 / max(len(heights), 1)
    shapes = "".join(
        f"M{step * place:.2f} 100v{-100 * height / top:.2f}h{0.85 * step:.2f}V100z"
        for place, height in enumerate(heights)
        if height
    )
    return f'<path class="bars {kind}" d="{shapes}"/>'


def ticks(low: float, high: float, wanted: int = 4, least_step: float = 0.0) -> tuple[float, ...]:
    """Round values between two limits."""
    if high <= low:
        return (low,)
    rough = max((high - low) / wanted, least_step)
    power = 10 ** np.floor(np.log10(rough))
    step = power * min((s for s in (1, 2, 5, 10) if s * power >= rough * (1 - 1e-9)), default=10)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return tuple(float(step * place) + 0.0 for place in np.arange(first, last + 1))
