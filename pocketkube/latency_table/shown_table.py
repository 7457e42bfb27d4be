"""Shows in the terminal how well a latency table predicts whole networks."""

import numpy as np
from rich.table import Table

from pocketkube.figures import milliseconds
from pocketkube.latency_table.table import LatencyTable


def render_latency_table(table: LatencyTable) -> Table:
    """A row for each network: what the table says, and what was measured.

    Args:
        table: A complete table.

    Returns:
        The rows, for a rich console.
    """
    threads = f"{table.threads} thread{'s' if table.threads > 1 else ''}"
    shown = Table(caption="\n".join(_caption(table, threads)), caption_justify="left")
    for heading in ("network", "numbers"):
        shown.add_column(heading)
    for heading in ("measured", "predicted", "error"):
        shown.add_column(heading, justify="right")
    shown.add_column("")
    for each in table.networks:
        if each.predicted_ms is None or each.error is None:
            continue
        shown.add_row(
            each.network,
            each.number_format,
            milliseconds(each.measured_ms),
            milliseconds(each.predicted_ms),
            f"{100 * each.error:+.1f} %",
            "fitted" if each.fitted else "",
        )
    return shown


def _caption(table: LatencyTable, threads: str) -> list[str]:
    points = sum(len(kind.times_us) for kind in table.kinds)
    lines = [f"{table.device.cpu}, {threads}; {points} times of {len(table.kinds)} kinds of operation."]
    errors = np.abs(table.held_out_errors())
    if len(errors):
        half, most = (100 * np.quantile(errors, part) for part in (0.5, 0.9))
        lines.append(
            f"Of {len(errors)} networks that nothing was fitted on, half are predicted within "
            f"{half:.1f} %, nine in ten within {most:.1f} %."
        )
    return [*lines, *table.warnings]
