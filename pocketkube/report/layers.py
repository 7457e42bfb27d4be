"""What is left of each layer: its channels, its multiply-adds; and where the time goes."""

from collections.abc import Mapping, Sequence
from html import escape

from pocketkube.figures import count
from pocketkube.report.markup import Markup, figure, table
from pocketkube.report.result import LayerChange

_KEYS = (("before", "before"), ("after", "after"))


def layer_table(layers: Sequence[LayerChange]) -> str:
    """A row for each layer that computes: bars of what it had and has.

    Args:
        layers: Layers before and after.

    Returns:
        The table; empty where no layer has multiply-adds.
    """
    shown = [layer for layer in layers if layer.macs_before]
    if not shown:
        return ""
    most_channels = max(layer.channels_before for layer in shown)
    most_macs = max(layer.macs_before for layer in shown)
    rows = [
        (
            Markup(f'{escape(layer.name)} <span class="muted">{escape(layer.kind)}</span>'),
            _bar(layer.channels_before, layer.channels_after, most_channels),
            _bar(layer.macs_before, layer.macs_after, most_macs),
        )
        for layer in shown
    ]
    drawn = table(("layer", "channels left", "multiply-adds left"), rows, stacks=True)
    return figure("Left of each layer", drawn, keys=_KEYS)


def operation_shares(times_ms: Mapping[str, float]) -> str:
    """How much of the time each operation takes, the slowest first; empty where it is not known."""
    total = sum(times_ms.values())
    if not total:
        return ""
    slowest = sorted(times_ms.items(), key=lambda item: -item[1])[:12]
    rows = [
        (name, with_bar([(value / slowest[0][1], "after")], f"{value / total:.0%}"))
        for name, value in slowest
    ]
    return figure("Share of the latency", table(("operation", "share"), rows, stacks=True))


def _bar(before: float, after: float, most: float) -> Markup:
    return with_bar(
        [(before / most, "before"), (after / most, "after")], f"{count(after)} of {count(before)}"
    )


def with_bar(parts: Sequence[tuple[float, str]], words: str) -> Markup:
    """Bars over each other, and beside them, not on them, what they say."""
    drawn = "".join(f'<i class="{kind}" style="width:{100 * part:.1f}%"></i>' for part, kind in parts)
    return Markup(
        f'<div class="measure"><span class="bar" aria-hidden="true">{drawn}</span>'
        f"<span>{escape(words)}</span></div>"
    )
