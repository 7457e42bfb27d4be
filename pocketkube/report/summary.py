"""The figures that people ask for first, before and after: the table that ends a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table

from pocketkube.benchmarking.environment import shown_place
from pocketkube.figures import (
    COST,
    NUMBER,
    SIZE,
    TIME,
    Words,
    bounded,
    count,
    milliseconds,
    milliseconds_between,
    ratio,
    ratio_between,
    ratio_words,
    size,
)
from pocketkube.graph.bounds import Speedup
from pocketkube.measures import Wording, wording_of
from pocketkube.measures.wording import score_change, share_wording
from pocketkube.report.result import OutputFigures, Result, TargetOutcome


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


def rows(result: Result) -> list[Row]:
    """The figures before and after."""
    before, after = result.before, result.after
    found = [
        Row("Number format", before.format, after.format, ""),
        *_score_rows(result),
        _macs_row(result),
    ]
    for name, key, shown, words in (
        ("Parameters", "parameters", count, NUMBER),
        ("File size", "size_bytes", size, SIZE),
        ("File size, gzipped", "gzip_bytes", size, SIZE),
    ):
        found.append(_cost_row(name, getattr(before, key), getattr(after, key), shown, words))
    found += [
        *_latency_rows(result),
        _cost_row("Peak memory", before.peak_memory_bytes, after.peak_memory_bytes, size, COST),
        _cost_row("Time to load", before.load_ms, after.load_ms, milliseconds, TIME),
    ]
    if after.model_bytes is not None:
        packed = before.model_bytes, after.model_bytes
        found.append(_cost_row("Keras model, then packed", *packed, size, SIZE))
    return found


def about_scores(result: Result) -> list[str]:
    """A sentence on what scores are held against, where that is no truth."""
    if not result.before.heads:
        return [
            "There were no data: neither how right the files are nor how far they agree with the "
            "uncompressed model was measured."
        ]
    if not wording_of(result.task.score_name).is_agreement:
        return []
    return [
        "The data have no labels: scores say how far the files agree with the uncompressed model's "
        "answers, and nothing says how right these are."
    ]


def render_table(result: Result) -> Table:
    """The one table that ends a run."""
    table = Table(title="Before and after", title_justify="left")
    table.add_column("")
    for name in ("before", "after", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows(result):
        table.add_row(row.name, row.before, row.after, row.change)
    for target in result.targets:
        words = target_words(target, wording_of(result.task.score_name))
        verdict = words.verdict.replace("not", "NOT")
        if words.doubt and words.verdict != "not certain":
            verdict += ", not sure"
        table.add_row(f"Target {target.name}", words.asked, words.reached, verdict)
    table.caption = "\n".join([measured_on(result), *about_scores(result), *uncounted(result)])
    table.caption_justify = "left"
    return table


@dataclass(frozen=True)
class TargetWords:
    """A part of the target in words.

    Attributes:
        asked: What was asked for.
        reached: What came out.
        verdict: Whether that is enough.
        doubt: Where the measurement is not sure of it, what it is sure of; else empty.
    """

    asked: str
    reached: str
    verdict: str
    doubt: str


def target_words(target: TargetOutcome, wording: Wording) -> TargetWords:
    """Puts a part of the target into words.

    Args:
        target: One of a result's targets.
        wording: How the score is read.
    """
    shown = {
        "speedup": lambda value: f"{value:.4g}x",
        "max_size": size,
        "max_latency_ms": milliseconds,
        "max_accuracy_drop": lambda value: _drop(value, wording),
    }[target.name]
    low, high = target.interval or (target.reached,) * 2
    doubt = f"95 % interval {milliseconds_between(low, high)}" if low <= target.asked < high else ""
    bound = target.bound
    # What is at most 1.8 is surely not 2; what is at most 2.1 may be.
    missed = bound == "exact" or (bound == "at most" and target.reached < target.asked)
    return TargetWords(
        shown(target.asked),
        bounded(shown(target.reached), bound),
        "reached" if target.met else "not reached" if missed else "not certain",
        "; ".join(filter(None, (target.doubt, doubt))),
    )


def measured_on(result: Result) -> str:
    """Where latency was measured, in a sentence that says whether that was a real machine."""
    place = result.environment
    why = ": its times say nothing of a real one" if place.emulated_on else ""
    return f"Latency was measured on {shown_place(place)}{why}."


def speedup_change(result: Result) -> str:
    """How multiply-adds compare: 2.50x fewer, or a bound where not all are known."""
    return Speedup(result.speedup, result.speedup_bound).change


def uncounted(result: Result) -> list[str]:
    """A sentence on the layers whose multiply-adds are not all known, where there are any."""
    found = [layer for side in (result.before, result.after) for layer in side.unknown]
    names = ", ".join(dict.fromkeys(found))
    return [f"Multiply-adds that are not known, and not counted: {names}."] if names else []


def capitalized(name: str) -> str:
    """A name as it begins a line."""
    return name[:1].upper() + name[1:]


def _drop(value: float, wording: Wording) -> str:
    return f"{100 * value:.3g} points" if wording.is_share else f"{value:.4g}"


def _latency_rows(result: Result) -> list[Row]:
    """The change of the median is that pair by pair, which load from elsewhere hardly moves."""
    before, after = (side.latency_ms for side in (result.before, result.after))
    p50, p90 = (
        _cost_row(
            f"Latency {name}",
            getattr(before, name, None),
            getattr(after, name, None),
            milliseconds,
            TIME,
        )
        for name in ("p50", "p90")
    )
    if not result.latency_ratio:
        return [p50, p90]
    known = Row(p50.name, p50.before, p50.after, ratio_words(result.latency_ratio, TIME))
    sure = []
    if result.latency_ratio_interval:
        low, high = result.latency_ratio_interval
        sure = [Row("  95 % interval", "", "", ratio_between(low, high, TIME))]
    return [known, *sure, p90]


def _macs_row(result: Result) -> Row:
    before, after = (
        bounded(count(side.macs), side.macs_bound) for side in (result.before, result.after)
    )
    return Row("Multiply-adds (MACs)", before, after, speedup_change(result))


def _score_rows(result: Result) -> list[Row]:
    """The score of all outputs, where they have one in common, and of each where there are several."""
    before, after = result.before, result.after
    wording = wording_of(result.task.score_name)
    heads = list(zip(before.heads, after.heads, strict=True))
    name = capitalized(wording.name)
    if not heads:
        return [Row(name, "–", "–", "not measured")]
    if len(heads) < 2:
        return [_score_row(name, wording, before.score, after.score), *_further_rows(heads)]
    found = []
    if before.score is not None:
        mean = f"{name}, mean of {len(heads)} outputs"
        found.append(_score_row(mean, wording, before.score, after.score))
    for was, now in heads:
        wording = wording_of(was.score_name)
        name = f"{capitalized(wording.name)}, {was.name}"
        found.append(_score_row(name, wording, was.score, now.score))
    return [*found, *_further_rows(heads)]


def _further_rows(heads: Sequence[tuple[OutputFigures, OutputFigures]]) -> list[Row]:
    """Shares that people ask for beside a score, as the part of the pixels that are right."""
    found = []
    for was, now in heads:
        of = f", {was.name}" if len(heads) > 1 else ""
        for (name, share), (_, later) in zip(was.also, now.also, strict=True):
            found.append(_score_row(f"{capitalized(name)}{of}", share_wording(name), share, later))
    return found


def _score_row(name: str, wording: Wording, before: float | None, after: float | None) -> Row:
    if before is None or after is None:
        return Row(name, "–", "–", "")
    change = score_change(wording, before, after)
    return Row(name, wording.shown(before), wording.shown(after), change)


def _cost_row(
    name: str,
    before: float | None,
    after: float | None,
    shown: Callable[[float], str],
    words: Words,
) -> Row:
    if before is None or after is None:
        return Row(name, "–", "–", "")
    change = ratio(before, after, words) if before and after else ""
    return Row(name, shown(before), shown(after), change)
