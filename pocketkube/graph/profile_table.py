"""A cost profile as a table for the terminal."""

from rich import box
from rich.table import Table

from pocketkube.graph.cost import LayerCost, Profile


def render_profile(profile: Profile) -> Table:
    """The profile as a table: a row for each layer with multiply-adds or weights, and a total.

    Args:
        profile: What `profile_model` found.

    Returns:
        The table. It leaves out what costs neither; where the multiply-adds are not known it shows a
        question mark.
    """
    caption = f"Multiply-adds not known: {', '.join(profile.unknown)}." if profile.unknown else None
    table = Table(
        title=f"{profile.flops:,} float operations, {_bytes(profile.activation_bytes)} of activations",
        caption=caption,
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        show_footer=True,
    )
    table.add_column("layer", "total", overflow="fold")
    table.add_column("kind", overflow="fold")
    table.add_column("output", justify="right", no_wrap=True)
    for heading, total in (
        ("MACs", f"{profile.macs:,}"),
        ("share", "100.0 %" if profile.macs else ""),
        ("parameters", f"{profile.parameters:,}"),
    ):
        table.add_column(heading, total, justify="right", no_wrap=True)
    for layer in profile.layers:
        known = f"{layer.name} ({layer.kind})" not in profile.unknown
        if layer.macs or layer.parameters or not known:
            table.add_row(*_row(layer, known, profile.macs))
    return table


def _row(layer: LayerCost, known: bool, total: int) -> tuple[str, ...]:
    return (
        layer.name,
        layer.kind if layer.calls == 1 else f"{layer.kind}, {layer.calls} calls",
        "x".join(map(str, layer.output_shape)),
        f"{layer.macs:,}" if known else "?",
        f"{100 * layer.macs / total:.1f} %" if layer.macs else "",
        f"{layer.parameters:,}",
    )


def _bytes(count: int) -> str:
    for unit, size in (("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
