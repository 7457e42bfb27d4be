"""What is left of each layer: its channels, its multiply-adds."""

from collections.abc import Mapping, Sequence
from typing import Any

from pocketkube.report.summary import count
from pocketkube.report.svg import bar, figure, text

WIDTH, LABEL, ROW, HEAD = 360, 124, 22, 26
COUNTS = 94


def layer_bars(layers: Sequence[Mapping[str, Any]], what: str, title: str) -> str:
    """A row for each layer: a bar of what it had and, over it, one of what it has.

    Args:
        layers: The layers of a result.json.
        what: "channels" or "macs".
        title: What the figure is called.

    Returns:
        The figure; empty where no layer has any.
    """
    shown = [layer for layer in layers if layer["macs_before"]]
    largest = max((layer[f"{what}_before"] for layer in shown), default=0)
    if not largest:
        return ""
    room = WIDTH - LABEL - COUNTS
    parts = []
    for number, layer in enumerate(shown):
        y = HEAD + number * ROW
        before, after = layer[f"{what}_before"], layer[f"{what}_after"]
        parts += [
            text(LABEL - 8, y + 14, _short(layer["name"]), anchor="end"),
            bar(LABEL, y + 3, room * before / largest, ROW - 7, "before"),
            bar(LABEL, y + 3, room * after / largest, ROW - 7, "after"),
            text(WIDTH, y + 14, f"{count(after)} of {count(before)}", kind="muted", anchor="end"),
        ]
    description = "; ".join(
        f"{x['name']}: {x[f'{what}_after']} of {x[f'{what}_before']}" for x in shown
    )
    return figure(
        title, description, WIDTH, HEAD + len(shown) * ROW, [text(0, 14, title, kind="h"), *parts]
    )


def shares(times: Mapping[str, float], title: str) -> str:
    """How much of the time each operation takes, the slowest first."""
    total = sum(times.values())
    if not total:
        return ""
    slowest = sorted(times.items(), key=lambda item: -item[1])[:12]
    room = WIDTH - LABEL - COUNTS
    parts = []
    for number, (name, value) in enumerate(slowest):
        y = HEAD + number * ROW
        parts += [
            text(LABEL - 8, y + 14, _short(name), anchor="end"),
            bar(LABEL, y + 3, room * value / slowest[0][1], ROW - 7, "after"),
            text(WIDTH, y + 14, f"{value / total:.0%}", kind="muted", anchor="end"),
        ]
    description = "; ".join(f"{name}: {value / total:.0%}" for name, value in slowest)
    height = HEAD + len(slowest) * ROW
    return figure(title, description, WIDTH, height, [text(0, 14, title, kind="h"), *parts])


def _short(name: str) -> str:
    return name if len(name) <= 19 else f"…{name[-18:]}"
