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
    wording = wording_of(result["task"]["score_name"])
    found = [
        Row("Number format", before["format"], after["format"], ""),
        _row(
            capitalized(wording.name),
            before["score"],
            after["score"],
            wording.shown,
            lambda was, now: score_change(wording, was, now),
        ),
    ]
    found.append(_macs(result))
    for name, value, shown in (
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


def render_table(result: Mapping[str, Any]) -> Table:
    """The one table that ends a run."""
    table = Table(title="Before and after", title_justify="left")
    table.add_column("")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows(result):
        table.add_row(row.name, row.before, row.after, row.change)
    for target in result.get("targets", ()):
        reached = bounded(f"{target['reached']:.4g}", target)
        table.add_row(f"Target {target['name']}", f"{target['asked']:g}", reached, verdict(target))
    unknown = uncounted(result)
    if unknown:
        table.caption = f"Multiply-adds that are not known, and not counted: {', '.join(unknown)}."
    return table


def bounded(shown: str, figure: Mapping[str, Any], key: str = "bound") -> str:
    """A figure with the word that says how sure it is: "at most 2.06"."""
    bound = figure.get(key, "exact")
    return shown if bound == "exact" else f"{bound} {shown}"


def verdict(target: Mapping[str, Any]) -> str:
    """Whether a target is reached, in words."""
    if target["met"]:
        return "reached"
    # What is at most 1.8 is certainly not 2; what is at most 2.1 may be.
    sure = target.get("bound", "exact") == "exact"
    sure |= target["bound"] == "at most" and target["reached"] < target["asked"]
    return "NOT reached" if sure else "NOT certain"


def uncounted(result: Mapping[str, Any]) -> list[str]:
    """Layers of the baseline or the result whose multiply-adds are not all known."""
    return list(
        dict.fromkeys([*result["before"].get("unknown", ()), *result["after"].get("unknown", ())])
    )


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


def _macs(result: Mapping[str, Any]) -> Row:
    before, after = result["before"], result["after"]
    row = _row("Multiply-adds (MACs)", before["macs"], after["macs"], count, ratio)
    bound = result.get("speedup_bound", "exact")
    if before["macs"] < after["macs"]:
        bound = {"at least": "at most", "at most": "at least"}.get(bound, bound)
    return Row(
        row.name,
        bounded(row.before, before, "macs_bound"),
        bounded(row.after, after, "macs_bound"),
        bounded(row.change, {"bound": bound}),
    )


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
