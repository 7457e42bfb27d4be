"""A cost profile as a table for the terminal."""

from rich import box
from rich.table import Table

from pocketkube.figures import bounded
from pocketkube.graph.bounds import macs_bound
from pocketkube.graph.cost import LayerCost, Profile


def render_profile(profile: Profile) -> Table:
    """The profile as a table: a row for each layer with multiply-adds or weights, and a total.

    Args:
        profile: What `profile_model` found.

    Returns:
        The table. It leaves out what costs neither; where not all multiply-adds are known it says "at
        least", and why below.
    """
    uncounted = [
        f"{layer.name} ({layer.kind}): {', '.join(layer.uncounted)}"
        for layer in profile.layers
        if layer.uncounted
    ]
    flops = bounded(f"{profile.flops:,}", profile.bound)
    table = Table(
        title=f"{flops} float operations, {_bytes(profile.activation_bytes)} of activations",
        caption=f"Not counted in {'; '.join(uncounted)}." if uncounted else None,
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        show_footer=True,
    )
    table.add_column("layer", "total", overflow="fold")
    table.add_column("kind", overflow="fold")
    table.add_column("output", justify="right", no_wrap=True)
    for heading, total in (
        ("MACs", bounded(f"{profile.macs:,}", profile.bound)),
        ("share" if not uncounted else "share of counted", "100.0 %" if profile.macs else ""),
        ("parameters", f"{profile.parameters:,}"),
    ):
        table.add_column(heading, total, justify="right", no_wrap=True)
    for layer in profile.layers:
        if layer.macs or layer.parameters or layer.uncounted:
            table.add_row(*_row(layer, profile.macs))
    return table


def _row(layer: LayerCost, total: int) -> tuple[str, ...]:
    return (
        layer.name,
        layer.kind if layer.calls == 1 else f"{layer.kind}, {layer.calls} calls",
        "x".join(map(str, layer.output_shape)),
        bounded(f"{layer.macs:,}", macs_bound(layer.uncounted)),
        f"{100 * layer.macs / total:.1f} %" if layer.macs else "",
        f"{layer.parameters:,}",
    )


def _bytes(count: int) -> str:
    for unit, size in (("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
