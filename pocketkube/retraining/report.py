"""How a run ended, for people: the figures that its decisions rest on, as HTML and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pocketkube.figures import milliseconds, size
from pocketkube.measures import Wording, wording_of
from pocketkube.report.markdown import markdown_table, markdown_text
from pocketkube.report.markup import details, listed, page, section, table
from pocketkube.retraining.lineage import (
    Decision,
    DriftFacts,
    GateCriterion,
    Outcome,
    VersionFacts,
)
from pocketkube.spec import yaml_of

RESULTS = {
    "kept": "nothing is retrained",
    "deployed": "a new version is deployed",
    "refused": "a new version did not pass its gate",
    "superseded": "another version was deployed meanwhile",
    "begun": "a new version is being made",
}
# Signals that are shown; the others are nearer.
SHOWN = 8


@dataclass(frozen=True)
class Part:
    """A part of the report.

    Attributes:
        title: What it is called.
        sentences: What it says.
        head: The columns of its table.
        rows: The rows of it; the first column names them.
    """

    title: str
    sentences: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def html_of(outcome: Outcome) -> str:
    """One page that needs nothing else."""
    body = "".join(
        section(part.title, listed(part.sentences), table(part.head, part.rows))
        for part in _parts(outcome)
    )
    spec = f"<pre><code>{escape(yaml_of(outcome.decision.spec))}</code></pre>"
    job = section("The job", details("The spec of the version", spec)) if outcome.decision.spec else ""
    title = _title(outcome)
    head = f'<header><h1>{escape(title)}</h1><p class="muted">{escape(_subtitle(outcome))}</p></header>'
    return page(title, f"{head}{body}{job}")


def markdown_of(outcome: Outcome) -> str:
    """The same, short."""
    parts = [f"# {markdown_text(_title(outcome))}", markdown_text(_subtitle(outcome))]
    for part in _parts(outcome):
        sentences = "\n".join(f"- {markdown_text(sentence)}" for sentence in part.sentences)
        shown = markdown_table(part.head, part.rows) if part.rows else ""
        parts += [f"## {markdown_text(part.title)}", *filter(None, (sentences, shown))]
    return "\n\n".join(parts) + "\n"


def _title(outcome: Outcome) -> str:
    return f"{outcome.decision.model}: {RESULTS[outcome.result]}"


def _subtitle(outcome: Outcome) -> str:
    decision = outcome.decision
    deployed = outcome.made.version if outcome.made and outcome.result == "deployed" else None
    shown = deployed or decision.deployed or "nothing"
    return f"{decision.when} · partition {decision.partition.name} · deployed: {shown}"


def _parts(outcome: Outcome) -> list[Part]:
    decision, made = outcome.decision, outcome.made
    name = made.score_name if made else decision.score_name
    wording = wording_of(name) if name else None
    parts = [_decision(decision)]
    if decision.drift is not None and wording is not None:
        parts += _drift(decision.drift, wording)
    if made is not None and wording is not None:
        parts += [_gate(made, wording), _version(made, wording)]
    return parts


def _decision(decision: Decision) -> Part:
    later = [f"{name} is newer, but not complete." for name in decision.incomplete]
    age = decision.age_days
    limit = f", of {decision.max_age_days:g} that it may be" if decision.max_age_days else ""
    old = [] if age is None else [f"The deployed version is {age:.1f} days old{limit}."]
    return Part("Decision", [*decision.reasons, *old, *later])


def _drift(drift: DriftFacts, wording: Wording) -> list[Part]:
    score = drift.score
    sentences = [
        f"The {wording.name} is {wording.shown(score.now)} on {score.examples} examples of the new "
        f"data; it was {wording.shown(score.before)} on {score.before_examples} of the deployed "
        "version's own.",
        f"Chance alone makes it as much lower with a probability of {score.probability:.2g}. It counts "
        f"as drift where it is more than {score.bound:g} lower, and more than chance explains: "
        f"{'it does' if score.drifted else 'it does not'}.",
        *([f"The labels may be wrong: {drift.at_chance}."] if drift.at_chance else []),
    ]
    bound = "decides nothing" if drift.bound is None else f"counts as drift above {drift.bound:g}"
    farthest = "lies beyond chance" if drift.beyond_chance else "may be chance"
    how = (
        f"Kolmogorov and Smirnov's distance of each number, without labels; the farthest of "
        f"{len(drift.signals)} {farthest}, and {bound}."
    )
    rows = [
        (each.name, f"{each.distance:.3f}", f"{each.probability:.2g}") for each in drift.signals[:SHOWN]
    ]
    return [
        Part("Score on the new data", sentences),
        Part("Inputs and outputs", [how], ("number", "distance", "p"), rows),
    ]


def _gate(made: VersionFacts, wording: Wording) -> Part:
    gate = made.gate
    verdict = "passed" if gate.passed else "not passed"
    if gate.opponent is None:
        beside = "It is the first version: there is none that it has to be as good as."
    else:
        beside = (
            f"It is compared with {gate.opponent}; the bad end of each interval has to be in bounds."
        )
    sentences = [
        f"The gate is {verdict}, on {gate.examples} test examples of {made.decision.partition.name}.",
        beside,
        *(
            f"It tells nothing of the labels: {each.note}."
            for each in gate.criteria
            if each.name == "chance" and each.note
        ),
        *gate.warnings,
    ]
    rows = [_row(each, wording) for each in gate.criteria if each.name != "chance"]
    head = ("", "deployed", "new", "worse by", "95 % interval", "at most", "")
    return Part(f"Gate of {made.version}", sentences, head, rows)


def _row(criterion: GateCriterion, wording: Wording) -> Sequence[str]:
    def figure(value: float | None) -> str:
        if value is None:
            return "–"
        shown = {"score": wording.shown, "size": size, "latency": milliseconds}
        return shown[criterion.name](value)

    def growth(value: float) -> str:
        return f"{value:+.4f}" if criterion.name == "score" else f"{100 * value:+.1f} %"

    between = ""
    if criterion.interval is not None:
        low, high = criterion.interval
        between = f"{growth(low)} to {growth(high)}"
    named = {"score": wording.name, "size": "file", "latency": f"latency p50 {criterion.note}"}
    return (
        named[criterion.name],
        figure(criterion.deployed),
        figure(criterion.candidate),
        growth(criterion.worse_by),
        between,
        growth(criterion.limit),
        "passed" if criterion.passed else "not passed",
    )


def _version(made: VersionFacts, wording: Wording) -> Part:
    rows = [
        ("parent", made.parent or "none"),
        ("partition", f"{made.decision.partition.place} ({made.decision.partition.stamp})"),
        ("channels", "as deployed" if made.decision.plan == "stored" else "chosen anew"),
        (wording.name, wording.shown(made.score)),
        ("file", size(made.size_bytes)),
        ("latency p50", f"{milliseconds(made.latency_ms)} on {made.machine}"),
        ("made", f"{made.made_at} by PocketKube {made.pocketkube}"),
    ]
    return Part(f"Version {made.version}", (), ("", ""), rows)
