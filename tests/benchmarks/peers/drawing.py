"""One plot for each network and family: accuracy over how far each method compressed."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from pocketkube.report.lines_svg import Line, lines_svg
from pocketkube.report.plot import Axis, ticks
from tests.benchmarks.peers.cases import BITS, CHANNELS, LATENCY, SEARCH, SPARSITY
from tests.benchmarks.peers.tables import Measured, by_method, reached, scores_of

_ACROSS = {
    CHANNELS: "multiply-adds before over after",
    LATENCY: "latency before over after",
    SEARCH: "multiply-adds before over after",
    BITS: "bytes of the LiteRT file before over after",
    SPARSITY: "part of the weights that is zero",
}
KEY_WIDTH = 260


def svg(measured: Sequence[Measured]) -> str:
    """The plot of one network and family; empty where nothing has a score."""
    lines = [line for name, row in by_method(measured).items() if (line := _line(name, row)).points]
    if not lines:
        return ""
    first = measured[0].case
    xs = [x for line in lines for x, _ in line.points]
    ys = [value for line in lines for value in (*line.low, *line.high)]
    names = (_ACROSS[first.method.family], "accuracy, %")
    alt = f"{first.network}: accuracy over {names[0]}"
    return lines_svg(lines, _axis(xs), _axis(ys), names, alt, key_width=KEY_WIDTH, marked=True)


def _line(name: str, row: Mapping[float, list[Measured]]) -> Line:
    points = []
    for cell in row.values():
        far = [value for m in cell if m.result.score is not None and (value := reached(m)) is not None]
        scores = scores_of(cell)
        if far and scores:
            points.append((mean(far), mean(scores), stdev(scores) if len(scores) > 1 else 0.0))
    points.sort()
    return Line(
        name,
        tuple((x, y) for x, y, _ in points),
        tuple(y - spread for _, y, spread in points),
        tuple(y + spread for _, y, spread in points),
    )


def _axis(values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low - margin, high + margin, ticks(low - margin, high + margin, 5))
