"""Shows a benchmark as a table in the terminal: a row for each figure, a column for each file."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from pocketkube.benchmarking.environment import shown_place
from pocketkube.benchmarking.results import BenchmarkReport, FileFigures
from pocketkube.benchmarking.slower import slower
from pocketkube.figures import (
    COST,
    SIZE,
    TIME,
    Words,
    milliseconds,
    milliseconds_between,
    ratio,
    ratio_between,
    ratio_words,
    size,
)
from pocketkube.measures import HeadScore, Wording, wording_of
from pocketkube.measures.wording import score_change, share_wording


def render_table(report: BenchmarkReport) -> Table:
    """The figures of all files side by side; with two files or more, how the last compares.

    Args:
        report: What was measured.

    Returns:
        The table, for a rich console.
    """
    compared = len(report.files) > 1
    table = Table(caption=_caption(report), caption_justify="left")
    table.add_column("")
    for figures in report.files:
        table.add_column(figures.file, justify="right")
    if compared:
        table.add_column("change", justify="right")
    for row in _rows(report):
        cells = [row.shown(figures) for figures in report.files]
        table.add_row(row.label, *cells, *([row.change] if compared else []))
    return table


@dataclass(frozen=True)
class _Row:
    label: str
    shown: Callable[[FileFigures], str]
    change: str = ""


def _rows(report: BenchmarkReport) -> list[_Row]:
    rows = [
        *_scores(report),
        _Row("format", lambda f: f.format),
        _cost(report, "size", lambda f: f.size_bytes, size, SIZE),
        _cost(report, "size, gzipped", lambda f: f.gzip_bytes, size, SIZE),
    ]
    for threads in report.files[0].threads:
        rows += _latency(report, threads)
    return [
        *rows,
        _cost(report, "peak memory", lambda f: f.peak_memory_bytes, size, COST),
        _cost(report, "load time", lambda f: f.load_ms, milliseconds, TIME),
    ]


def _scores(report: BenchmarkReport) -> list[_Row]:
    """The score of all outputs, where they have one in common, and of each where there are several."""
    heads, rows = report.files[0].heads, []
    if report.score_name:
        wording = wording_of(report.score_name)
        name = f"{wording.name}, mean of {len(heads)} outputs" if len(heads) > 1 else wording.name
        rows.append(_score_row(report, name, wording, lambda f: f.score or 0.0))
    if len(heads) > 1:
        rows += [_score_of(report, place, head) for place, head in enumerate(heads)]
    further = (_further(report, place, head) for place, head in enumerate(heads))
    return [*rows, *(row for found in further for row in found)]


def _score_of(report: BenchmarkReport, place: int, head: HeadScore) -> _Row:
    wording = wording_of(head.score_name)
    name = f"{wording.name}, {head.name}"
    return _score_row(report, name, wording, lambda f: f.heads[place].score)


def _further(report: BenchmarkReport, place: int, head: HeadScore) -> list[_Row]:
    """Shares that people ask for beside a score, as the part of the pixels that are right."""
    of = f", {head.name}" if len(report.files[0].heads) > 1 else ""

    def row(number: int, name: str) -> _Row:
        wording = share_wording(name)
        return _score_row(report, name + of, wording, lambda f: f.heads[place].also[number][1])

    return [row(number, name) for number, (name, _) in enumerate(head.also)]


def _score_row(
    report: BenchmarkReport, label: str, wording: Wording, score: Callable[[FileFigures], float]
) -> _Row:
    change = score_change(wording, score(report.files[0]), score(report.files[-1]))
    return _Row(label, lambda figures: wording.shown(score(figures)), change)


def _latency(report: BenchmarkReport, threads: str) -> list[_Row]:
    label = f"{threads} thread{'' if threads == '1' else 's'}"
    known = report.latency_ratios.get(threads)
    return [
        _Row(
            f"latency p50, {label}",
            lambda f: milliseconds(f.threads[threads].p50),
            ratio_words(known.value, TIME) if known else "",
        ),
        _Row(
            "  95 % interval",
            lambda f: milliseconds_between(*f.threads[threads].p50_interval),
            ratio_between(known.low, known.high, TIME) if known else "",
        ),
        _cost(report, f"latency p90, {label}", lambda f: f.threads[threads].p90, milliseconds, TIME),
        _cost(report, f"latency p99, {label}", lambda f: f.threads[threads].p99, milliseconds, TIME),
    ]


def _cost(
    report: BenchmarkReport,
    label: str,
    value: Callable[[FileFigures], float],
    shown: Callable[[float], str],
    words: Words,
) -> _Row:
    first, last = value(report.files[0]), value(report.files[-1])
    change = ratio(first, last, words) if first and last else ""
    return _Row(label, lambda figures: shown(value(figures)), change)


def _caption(report: BenchmarkReport) -> str:
    on = shown_place(report.environment)
    if report.environment.emulated_on:
        on += ": its times mean nothing"
    if report.files[0].heads:
        on += f"; score on {report.examples} examples"
    runs = len(report.files[0].latency_samples_ms)
    slow = slower(report, report.files[0].file, report.files[-1].file)
    return "\n".join([f"{on}; {runs} runs of each", *_nodes(report), *slow, *report.load.warnings])


def _nodes(report: BenchmarkReport) -> list[str]:
    """What each node measured, where several did."""
    return [
        f"{each.environment.node}: {milliseconds(each.files[-1].latency_ms.p50)}"
        + (f", {ratio_words(each.latency_ratio, TIME)}" if each.latency_ratio else "")
        for each in report.nodes
    ]
