"""The figures that people ask for first, before and after: the table that ends a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from pocketkube.measures import Wording, wording_of


@dataclass(frozen=True)
class Row:
    """One figure of the baseline and of the result, as shown.

    Attributes:
        name: What it is.
        before: The baseline's.
        after: The result's.
        change: How they compare, in words; empty where one is missing.
    """

    name: str
    before: str
    after: str
    change: str


def rows(result: Mapping[str, Any]) -> list[Row]:
    """The before/after figures of a result.json."""
    before, after = result["before"], result["after"]
    found = [Row("Number format", before["format"], after["format"], ""), *score_rows(result)]
    for name, value, shown in (
        ("Multiply-adds (MACs)", lambda f: f["macs"], count),
        ("Parameters", lambda f: f["parameters"], count),
        ("File size", lambda f: f["size_bytes"], size),
        ("File size, gzipped", lambda f: f["gzip_bytes"], size),
        ("Latency, half within", lambda f: (f["latency_ms"] or {}).get("p50"), milliseconds),
        ("Latency, 9 in 10 within", lambda f: (f["latency_ms"] or {}).get("p90"), milliseconds),
        ("Peak memory", lambda f: f["peak_memory_bytes"], size),
        ("Time to load", lambda f: f["load_ms"], milliseconds),
    ):
        found.append(_row(name, value(before), value(after), shown, ratio))
    if "model_bytes" in after:
        packed = before["model_bytes"], after["model_bytes"]
        found.append(_row("Keras model, then packed", *packed, size, ratio))
    return found


def score_rows(result: Mapping[str, Any]) -> list[Row]:
    """The score of all outputs, where they have one in common, and of each where there are several."""
    before, after = result["before"], result["after"]
    pairs = list(zip(before["heads"], after["heads"], strict=True))
    wording = wording_of(result["task"]["score_name"])
    found = []
    if len(pairs) < 2:
        found.append(_score_row(capitalized(wording.name), wording, before["score"], after["score"]))
    elif before["score"] is not None:
        name = f"{capitalized(wording.name)}, mean of {len(pairs)} outputs"
        found.append(_score_row(name, wording, before["score"], after["score"]))
    for was, now in pairs if len(pairs) > 1 else ():
        wording = wording_of(was["score_name"])
        name = f"{capitalized(wording.name)}, {was['name']}"
        found.append(_score_row(name, wording, was["score"], now["score"]))
    return found


def render_table(result: Mapping[str, Any]) -> Table:
    """The one table that ends a run."""
    table = Table(title="Before and after", title_justify="left")
    table.add_column("")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows(result):
        table.add_row(row.name, row.before, row.after, row.change)
    for target in result.get("targets", ()):
        met = "reached" if target["met"] else "NOT reached"
        table.add_row(
            f"Target {target['name']}", f"{target['asked']:g}", f"{target['reached']:.4g}", met
        )
    return table


def count(value: float) -> str:
    """A large number, to three digits: 40.8 M."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def size(value: float) -> str:
    """A number of bytes: 276 kB."""
    return f"{count(value)}B" if value >= 1e3 else f"{value:.0f} B"


def milliseconds(value: float) -> str:
    """A time: 0.82 ms."""
    return f"{value:#.3g} ms"


def ratio(before: float, after: float) -> str:
    """How many times less the result takes: 2.51x."""
    return f"{before / after:.2f}x less" if before >= after > 0 else f"{after / before:.2f}x more"


def score_change(wording: Wording, before: float, after: float) -> str:
    """How scores compare as they are read: in percentage points, -0.40 points, or as a ratio."""
    before, after = wording.read(before), wording.read(after)
    return f"{(after - before) * 100:+.2f} points" if wording.is_share else ratio(before, after)


def capitalized(name: str) -> str:
    """A name as it begins a line."""
    return name[:1].upper() + name[1:]


def _score_row(name: str, wording: Wording, before: float | None, after: float | None) -> Row:
    return _row(name, before, after, wording.shown, lambda was, now: score_change(wording, was, now))


def _row(
    name: str,
    before: float | None,
    after: float | None,
    shown: Callable[[float], str],
    compare: Callable[[float, float], str],
) -> Row:
    if before is None or after is None:
        return Row(name, "–", "–", "")
    change = compare(before, after) if before and after else ""
    return Row(name, shown(before), shown(after), change)
