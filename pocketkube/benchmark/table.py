"""Shows a benchmark as a table in the terminal: a row for each figure, a column for each file."""

from collections.abc import Callable

from rich.table import Table

from pocketkube.benchmark.environment import shown_machine
from pocketkube.benchmark.results import BenchmarkReport, FileFigures
from pocketkube.measures import wording_of


def render_table(report: BenchmarkReport) -> Table:
    """The figures of all files side by side; with two files or more, the first over the last.

    Args:
        report: What was measured.

    Returns:
        The table, for a rich console.
    """
    compared = len(report.files) > 1
    table = Table(caption=_caption(report))
    table.add_column("")
    for figures in report.files:
        table.add_column(figures.file, justify="right")
    if compared:
        table.add_column("ratio", justify="right")
    for name, scores in _scores(report):
        table.add_row(name, *scores, *([""] if compared else []))
    table.add_row("format", *(f.format for f in report.files), *([""] if compared else []))
    for label, value, shown in _rows(report):
        values = [value(figures) for figures in report.files]
        row = [label, *(shown(one) for one in values)]
        if compared:
            row.append(f"{values[0] / values[-1]:.2f}x" if values[-1] else "")
        table.add_row(*row)
    return table


def _scores(report: BenchmarkReport) -> list[tuple[str, list[str]]]:
    """What scores are called, and each file's: of all outputs, and of each where there are several."""
    rows = []
    heads = report.files[0].heads
    if report.score_name:
        wording = wording_of(report.score_name)
        name = f"{wording.name}, mean of {len(heads)} outputs" if len(heads) > 1 else wording.name
        rows.append((name, [wording.shown(f.score or 0.0) for f in report.files]))
    for place, head in enumerate(heads if len(heads) > 1 else ()):
        wording = wording_of(head.score_name)
        shown = [wording.shown(f.heads[place].score) for f in report.files]
        rows.append((f"{wording.name}, {head.name}", shown))
    return rows


_Row = tuple[str, Callable[[FileFigures], float], Callable[[float], str]]


def _rows(report: BenchmarkReport) -> list[_Row]:
    rows: list[_Row] = [
        ("size", lambda f: f.size_bytes, _bytes),
        ("size, gzipped", lambda f: f.gzip_bytes, _bytes),
    ]
    for threads in report.files[0].threads:
        word = "thread" if threads == "1" else "threads"
        for name in ("p50", "p90", "p99"):
            rows.append((f"latency {name}, {threads} {word}", _latency(threads, name), _milliseconds))
    rows.append(("peak memory", lambda f: f.peak_memory_bytes, _bytes))
    rows.append(("load time", lambda f: f.load_ms, _milliseconds))
    return rows


def _latency(threads: str, name: str) -> Callable[[FileFigures], float]:
    return lambda figures: getattr(figures.threads[threads], name)


def _bytes(value: float) -> str:
    return f"{value / 1e6:.2f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"


def _milliseconds(value: float) -> str:
    return f"{value:.3g} ms"


def _caption(report: BenchmarkReport) -> str:
    place = report.environment
    on = f"{place.cpu}, {place.cores} cores"
    if place.emulated_on:
        on += f", {shown_machine(place.machine, place.emulated_on)}: its times mean nothing"
    return f"{on}; score on {report.examples} examples" if report.files[0].heads else on
