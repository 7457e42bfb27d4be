"""Puts the report's page together."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from pocketkube.benchmarking.environment import shown_machine
from pocketkube.facts import StageFacts
from pocketkube.figures import (
    SAME,
    SIZE,
    TIME,
    bounded,
    count,
    hundredths,
    milliseconds,
    ratio,
    ratio_between,
    ratio_words,
    size,
)
from pocketkube.measures import Maps, task_measure_of, wording_of
from pocketkube.report.confusion import confusion_matrix
from pocketkube.report.curves import training_curves
from pocketkube.report.latency_plot import latency_figure, latency_table
from pocketkube.report.layers import layer_table, operation_shares
from pocketkube.report.markup import details, listed, page, section, table
from pocketkube.report.result import OutputFigures, Result, TargetOutcome
from pocketkube.report.search import search_parts
from pocketkube.report.summary import (
    about_scores,
    measured_on,
    rows,
    speedup_change,
    target_words,
    uncounted,
)
from pocketkube.spec import yaml_of


def build_report(result: Result) -> str:
    """The report of a run as one HTML page that needs nothing else.

    Args:
        result: The figures of the job.

    Returns:
        The page.
    """
    body = "".join(
        (
            _headline(result),
            section("Warnings", listed(_warnings(result)), kind="warnings"),
            '<div class="halves">',
            section("Before and after", _table(result), *_notes(result)),
            section("Latency", *_latency(result)),
            "</div>",
            section("Latency, node by node", *_by_node(result)),
            section("Search", *search_parts(result.search)),
            section("Layers", layer_table(result.layers), _operations(result)),
            section("Training", _curves(result)),
            section("What is taken for what", *_confusions(result)),
            section("Stages", _stages(result), _head_scores(result), listed(_stage_notes(result))),
            section("Do it again", *_again(result)),
        )
    )
    return page(_title(result), body)


def _title(result: Result) -> str:
    return f"{result.spec['model'].rsplit('/')[-1]}, compressed"


def _headline(result: Result) -> str:
    before, after = result.before, result.after
    cards = [_ratio_card(speedup_change(result), "multiply-adds"), *_score_cards(result)]
    if result.latency_ratio:
        cards.append(_latency_card(result, result.latency_ratio))
    cards.append(_ratio_card(ratio(before.size_bytes, after.size_bytes, SIZE), "file"))
    environment = result.environment
    subtitle = " · ".join((environment.when, environment.cpu, result.task.description))
    shown = "".join(f"<li><strong>{escape(a)}</strong> {escape(b)}</li>" for a, b in cards)
    return (
        f"<header><h1>{escape(_title(result))}</h1>"
        f'<p class="muted">{escape(subtitle)}</p><ul class="cards">{shown}</ul></header>'
    )


def _ratio_card(change: str, what: str) -> tuple[str, str]:
    if change == SAME:
        return "1.00x", f"{what}: {SAME}"
    number, _, word = change.rpartition(" ")
    return number, f"{word} {what}"


def _latency_card(result: Result, latency_ratio: float) -> tuple[str, str]:
    place = result.environment
    where = f"on {place.machine}"
    if place.emulated_on:
        where = f"on an {shown_machine(place.machine, place.emulated_on)}, which says nothing"
    threads = result.reference_threads
    where += f", {threads} thread{'' if threads == 1 else 's'}"
    if result.latency_ratio_interval:
        low, high = result.latency_ratio_interval
        where += f"; 95 % interval {ratio_between(low, high, TIME)}"
    return _ratio_card(ratio_words(latency_ratio, TIME), where)


def _score_cards(result: Result) -> list[tuple[str, str]]:
    """The score of all outputs, or of each where they have none in common."""
    before, after = result.before, result.after
    if before.score is not None and after.score is not None:
        return [_score_card(result.task.score_name, before.score, after.score)]
    cards = []
    for was, now in zip(before.heads, after.heads, strict=True):
        shown, words = _score_card(was.score_name, was.score, now.score)
        cards.append((shown, f"{words} ({was.name})"))
    return cards


def _score_card(score_name: str, before: float, after: float) -> tuple[str, str]:
    wording = wording_of(score_name)
    if wording.is_share:
        change = (wording.read(after) - wording.read(before)) * 100
        points = hundredths(change, sign="+")
        return points, f"points of {wording.short}, to {wording.shown(after)}"
    return wording.shown(after), f"{wording.name}, from {wording.shown(before)}"


def _warnings(result: Result) -> list[str]:
    """What a reader has to know before the figures."""
    missed = [target for target in result.targets if not target.met]
    return [
        *(_target(result, target) for target in missed),
        *uncounted(result),
        *result.warnings,
    ]


def _table(result: Result) -> str:
    shown = ((row.name, row.before, row.after, row.change) for row in rows(result))
    return table(("", "before", "after", "change"), shown)


def _notes(result: Result) -> list[str]:
    met = [_target(result, target) for target in result.targets if target.met]
    sentences = [
        "p50 is the median: half of the runs took no longer; p90 is what 9 in 10 stayed within.",
    ]
    if result.agreement is not None:
        measure = task_measure_of(result.task)
        sentences.append(measure.agreed(result.agreement, "the test examples compared"))
    sentences += _explanations(result)
    return [listed(met), *(f"<p>{escape(sentence)}</p>" for sentence in sentences)]


def _explanations(result: Result) -> list[str]:
    """A sentence on each score whose name does not say all."""
    heads = task_measure_of(result.task).heads
    found = (head.measure.explanation for head in heads if head.scored)
    return [*about_scores(result), *(sentence for sentence in dict.fromkeys(found) if sentence)]


def _target(result: Result, target: TargetOutcome) -> str:
    words = target_words(target, wording_of(result.task.score_name))
    doubt = f", which is not sure: {words.doubt}" if words.doubt else ""
    return (
        f"Target {target.name}: {words.asked} asked for, {words.verdict} with {words.reached}{doubt}."
    )


def _latency(result: Result) -> list[str]:
    return [
        f"<p>{escape(measured_on(result))}</p>",
        latency_table(result),
        latency_figure(result),
    ]


def _by_node(result: Result) -> list[str]:
    """What each node measured, where several did, and what the figures of all of them are."""
    if not result.nodes:
        return []
    shown = []
    for node in result.nodes:
        between = node.latency_ratio_interval
        shown.append(
            (
                node.node,
                node.cpu,
                milliseconds(node.before_ms),
                milliseconds(node.after_ms),
                _shown(node.latency_ratio, lambda known: ratio_words(known, TIME)),
                _shown(between, lambda ends: ratio_between(ends[0], ends[1], TIME)),
            )
        )
    return [
        "<p>Figures of several nodes are their medians; an interval goes from the lowest to the "
        "highest end of the nodes' own.</p>",
        table(("node", "processor", "before", "after", "change", "95 % interval"), shown, stacks=True),
    ]


def _operations(result: Result) -> str:
    return operation_shares(result.after.op_latency_ms)


def _curves(result: Result) -> str:
    wording = wording_of(result.task.score_name)
    figures = [curve for stage in result.stages for curve in training_curves(stage, wording)]
    return f'<div class="halves">{"".join(figures)}</div>' if figures else ""


def _confusions(result: Result) -> list[str]:
    """A figure for each output that tells classes apart."""
    heads = result.after.heads
    found = [(head.name, confusion_matrix(head.confusion or (), _counted(head))) for head in heads]
    return [
        f"<h3>{escape(name)}</h3>{figure}" if len(heads) > 1 else figure
        for name, figure in found
        if figure
    ]


def _counted(head: OutputFigures) -> str:
    return "pixel" if head.score_name == Maps.wording.score_name else "example"


def _stages(result: Result) -> str:
    wording = wording_of(result.task.score_name)
    costs = ("MACs", "parameters", "zeros", "bits of a weight", "model.packed", "time")
    shown = [
        (
            stage.name,
            _shown(stage.score, wording.shown),
            bounded(count(stage.macs), stage.macs_bound),
            count(stage.parameters),
            _shown(stage.zeros, lambda part: f"{100 * part:.1f} %"),
            _shown(stage.weight_bits or None, _range),
            _shown(stage.packed_bytes, size),
            f"{stage.seconds:.1f} s",
        )
        for stage in result.stages
    ]
    return table(("stage", wording.name, *costs), shown, stacks=True)


def _head_scores(result: Result) -> str:
    """The score of each output after each stage, where there are several."""
    heads, stages = result.after.heads, result.stages
    if len(heads) < 2:
        return ""
    shown = []
    for head in heads:
        wording = wording_of(head.score_name)
        scores = [_shown(_score_of(stage, head.name), wording.shown) for stage in stages]
        shown.append([f"{head.name}: {wording.name}", *scores])
    names = [stage.name for stage in stages]
    return f"<h3>Each output</h3>{table(('output', *names), shown, stacks=True)}"


def _score_of(stage: StageFacts, output: str) -> float | None:
    """The score of one output after a stage; None where its model had no such output."""
    return next((head.score for head in stage.heads if head.name == output), None)


def _stage_notes(result: Result) -> list[str]:
    return [f"{stage.name}: {note}" for stage in result.stages for note in stage.notes]


def _shown(figure: Any, shown: Callable[[Any], str]) -> str:
    return "–" if figure is None else shown(figure)


def _range(bits: Sequence[int]) -> str:
    return f"{bits[0]}" if len(bits) == 1 else f"{bits[0]} to {bits[-1]}"


def _again(result: Result) -> list[str]:
    spec = f"<pre><code>{escape(yaml_of(result.spec))}</code></pre>"
    environment = result.environment
    machine = shown_machine(environment.machine, environment.emulated_on)
    packages = ", ".join(f"{name} {version}" for name, version in environment.packages.items())
    lines = [
        f"PocketKube {result.pocketkube}, Python {environment.python}, {packages}",
        f"{environment.cpu}, {environment.cores} cores, {machine}; "
        f"{' '.join(environment.cpu_features)}",
        f"Seed {result.seed}",
    ]
    command = result.command
    if command:
        how = [_code(command), details("The spec: what differs from the defaults", spec)]
    else:
        # A pipeline's runner was given the spec itself: there is no file to name.
        how = [
            "<p>Save this as <code>spec.yaml</code>:</p>",
            spec,
            "<p>and run:</p>",
            _code("pocketkube run spec.yaml --output runs/again"),
        ]
    return [*how, listed(lines)]


def _code(command: str) -> str:
    return f"<pre><code>{escape(command)}</code></pre>"
