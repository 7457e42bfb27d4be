"""Small pieces of SVG that the figures are made of."""

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

# Wider, and the letters would be larger than the page's own.
LARGEST = 1.4


def figure(title: str, description: str, width: float, height: float, parts: Iterable[str]) -> str:
    """An SVG that scales with the page and tells a screen reader what it shows."""
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" preserveAspectRatio="xMidYMid meet" '
        f'style="max-width:{LARGEST * width:.0f}px">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )


def text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "start") -> str:
    """A line of text with its baseline at `y`."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def bar(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A filled rectangle."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" '
        f'class="{kind}" rx="1"/>'
    )


def line(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" class="{kind}"/>'


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round values between two limits."""
    if high <= low:
        return [low]
    rough = (high - low) / wanted
    power = 10 ** np.floor(np.log10(rough))
    step = power * min((s for s in (1, 2, 5, 10) if s * power >= rough), default=10)
    first = np.ceil(low / step - 1e-9)
    return [float(step * i) + 0.0 for i in np.arange(first, np.floor(high / step + 1e-9) + 1)]
