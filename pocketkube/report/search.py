"""What a search did: how good its best trial grew, which were best, what each layer is left with."""

import math
from collections.abc import Callable

from pocketkube.figures import count, milliseconds, size
from pocketkube.files.layout import FRONT_RATIOS, front_file
from pocketkube.graph.budgets import NS_PER_MS
from pocketkube.measures import Wording, wording_of
from pocketkube.report.best_so_far import curve_of, curves_figure
from pocketkube.report.layers import with_bar
from pocketkube.report.markup import Markup, details, figure, listed, table
from pocketkube.report.plot import Axis, dots, line, plot, ticks
from pocketkube.search.facts import FoundFacts, SearchFacts, TrialFacts

SHOWN_TRIALS = 10
# What each cost is called, how much of it is written, and what of it a plot's axis counts.
_COSTS: dict[str, tuple[str, Callable[[float], str], float]] = {
    "macs": ("multiply-adds", lambda value: f"{count(value)} multiply-adds", 1e6),
    "parameters": ("parameters", lambda value: f"{count(value)} parameters", 1e3),
    "bytes": ("file", size, 1e3),
    "latency": ("latency", lambda value: milliseconds(value / NS_PER_MS), NS_PER_MS),
    "mean_bits": ("bits", lambda value: f"{value:.3g} bits of a weight in the mean", 1.0),
}
# What the axis is called.
_UNITS = {
    "macs": "millions of multiply-adds",
    "parameters": "thousands of parameters",
    "bytes": "kB of the file",
    "latency": "milliseconds",
    "mean_bits": "bits of a weight",
}
_DECIDED = {"kept": "channels kept", "sparsity": "weights that are zero", "bits": "bits of a weight"}


def search_parts(search: SearchFacts | None) -> list[str]:
    """The section of the report.

    Args:
        search: What is known of it; None where there was none.

    Returns:
        HTML; nothing without a search.
    """
    if search is None:
        return []
    wording = wording_of(search.score_name)
    curve = curve_of("best so far", search.best_scores, wording)
    title = "The best so far, on validation examples"
    if search.front is not None:
        title = "The best so far that meets the target, on validation examples"
    return [
        listed(sentences(search)),
        '<div class="halves">',
        curves_figure(title, [curve], wording),
        *_fronts(search, wording),
        "</div>",
        _left(search),
        _points(search, wording),
        _trials(search, wording),
    ]


def sentences(search: SearchFacts) -> list[str]:
    """What came of a search, in a few sentences."""
    wording, best = wording_of(search.score_name), search.best_trial
    scored = sum(trial.score is not None for trial in search.trials)
    failed = sum(trial.state == "failed" for trial in search.trials)
    budget = budget_words(search.cost, search.most)
    if search.front is not None:
        low, high = (cost_words(search.cost, end) for end in search.front)
        budget = f"budgets from {low} to {high}"
    words = [
        f"{search.sampler} tried {len(search.trials)} assignments of {len(search.found)} values, for "
        f"{budget}" + (f"; {failed} failed." if failed else ".")
    ]
    which = "the best"
    if search.front is not None:
        which = f"the best for the target of {budget_words(search.cost, search.most)}"
        words.append(
            f"{len(search.front_trials)} of them are beaten by none at no more of their budget; their "
            f"ratios lie in {FRONT_RATIOS}."
        )
    before = ""
    if search.whole_score is not None:
        before = f", of {wording.shown(search.whole_score)} before"
    foreseen = ""
    if search.foreseen_loss is not None:
        foreseen = f" A loss of {search.foreseen_loss:.3g} of the score was foreseen for it."
    words.append(
        f"Trial {best.number + 1} was {which}: {wording.name} {wording.shown(_score(best))} on "
        f"validation examples{before}, with {cost_words(search.cost, best.costs[search.cost])}."
        f"{foreseen}"
    )
    evaluated = sum(trial.seconds for trial in search.trials)
    words.append(
        f"Trials took {evaluated:.1f} s, {evaluated / max(scored, 1):.2f} s each, equal ones counted "
        "once"
        + (
            f"; what they share took {search.prepared_seconds:.1f} s."
            if search.prepared_seconds
            else "."
        )
    )
    return words


def budget_words(cost: str, most: float) -> str:
    """A budget in words: at most 1.2 M multiply-adds."""
    return f"at most {cost_words(cost, most)}"


def cost_words(cost: str, value: float) -> str:
    """A cost in words: 1.2 M multiply-adds."""
    return _COSTS[cost][1](value)


def _score(trial: TrialFacts) -> float:
    assert trial.score is not None
    return trial.score


def _trials(search: SearchFacts, wording: Wording) -> str:
    """The best trials, and what proposed them."""
    scored = search.ranked
    costs = [name for name in _COSTS if all(name in trial.costs for trial in scored)]
    # It decides between trials of one score.
    foreseen = search.front is None and all(trial.foreseen_loss is not None for trial in scored)
    shown = [
        (
            f"{trial.number + 1}",
            wording.shown(_score(trial)),
            *([f"{trial.foreseen_loss:.3g}"] if foreseen else []),
            *(_COSTS[name][1](trial.costs[name]) for name in costs),
            trial.sampler,
        )
        for trial in scored[:SHOWN_TRIALS]
    ]
    names = (*(["foreseen loss"] if foreseen else []), *(_COSTS[name][0] for name in costs))
    head = ("trial", wording.name, *names, "proposed by")
    return details(f"The best {len(shown)} trials", table(head, shown, stacks=True))


def _points(search: SearchFacts, wording: Wording) -> str:
    """The points of the front, and where their ratios are."""
    shown = [
        (
            cost_words(search.cost, trial.costs[search.cost]),
            wording.shown(_score(trial)),
            f"{FRONT_RATIOS}/{front_file(trial.number)}",
        )
        for trial in search.front_trials
    ]
    head = (_COSTS[search.cost][0], wording.name, "ratios")
    return details(f"The front's {len(shown)} points", table(head, shown, stacks=True)) if shown else ""


def _left(search: SearchFacts) -> str:
    """A bar for each value that was found."""
    drawn = table(("layers", "found"), map(_bar, search.found), stacks=True)
    return figure("What each layer is left with", drawn)


def _bar(found: FoundFacts) -> tuple[str, Markup]:
    name = ", ".join(found.targets)
    if found.decides == "bits":
        return name, with_bar([(found.value / 8, "after")], f"{found.value:g} bits")
    left = found.value if found.decides == "kept" else 1 - found.value
    words = f"{found.value:.0%} {'kept' if found.decides == 'kept' else 'zero'}"
    return name, with_bar([(1.0, "before"), (left, "after")], words)


def _fronts(search: SearchFacts, wording: Wording) -> list[str]:
    """The score against other costs: each trial, and a line through those that nothing beats."""
    by_number = {trial.number: trial for trial in search.trials}
    found = []
    for cost, numbers in search.fronts.items():
        scored = [trial for trial in search.ranked if cost in trial.costs and _has_a_place(trial, cost)]
        scale = _COSTS[cost][2]
        places = [(trial.costs[cost] / scale, wording.read(_score(trial))) for trial in scored]
        front = [
            (by_number[number].costs[cost] / scale, wording.read(_score(by_number[number])))
            for number in numbers
            if _has_a_place(by_number[number], cost)
        ]
        shown = cost in ("bytes", "latency") or (search.front is not None and cost == search.cost)
        if len({across for across, _ in places}) < 2 or not shown:
            continue
        x, y = _axis([across for across, _ in places]), _axis([up for _, up in places])
        marks = [dots(x, y, places, "before"), line(x, y, front, "after")]
        title = f"Score against {_COSTS[cost][0]}"
        alt = f"{title}: {len(front)} of {len(places)} trials are beaten by none"
        keys = [("before", "trials"), ("after line", "beaten by none")]
        found.append(figure(title, plot(x, y, marks, alt, _UNITS[cost]), keys=keys))
    return found


def _has_a_place(trial: TrialFacts, cost: str) -> bool:
    """Whether a trial can be drawn: one that diverged has a score that is no number."""
    return math.isfinite(_score(trial)) and math.isfinite(trial.costs[cost])


def _axis(values: list[float]) -> Axis:
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low - margin, high + margin, ticks(low - margin, high + margin))
