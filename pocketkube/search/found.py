"""Writes what a search has found: the ratios, all trials, and how good the best one grew."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from pocketkube.files.layout import (
    CURVE_FILE,
    FRONT_RATIOS,
    PROBLEM_FILE,
    RATIOS_FILE,
    SEARCH_FILE,
    TRIALS_FILE,
    front_file,
)
from pocketkube.files.records import text_of
from pocketkube.files.whole import replaced_folder, write_text
from pocketkube.measures import wording_of
from pocketkube.report.best_so_far import curve_of, curves_svg
from pocketkube.search.facts import SearchFacts, TrialFacts
from pocketkube.search.problem import Problem
from pocketkube.search.ratios import ratios_of, write_ratios


def write_found(output: Path, problem: Problem, facts: SearchFacts) -> None:
    """Writes the folder of a search that has ended.

    Args:
        output: Gets ratios.yaml, search.json, trials.csv, best_so_far.svg, problem.json and, in front,
            the ratios of trials that are the best for their bytes, or whatever else they cost.
        problem: The search.
        facts: What is known of it.
    """
    with replaced_folder(output) as folder:
        write_ratios(
            folder / RATIOS_FILE, ratios_of(problem, _choice(problem, facts.best_trial)), _which(facts)
        )
        write_text(folder / SEARCH_FILE, text_of(facts))
        write_text(folder / TRIALS_FILE, trials_table(facts.trials))
        write_text(folder / CURVE_FILE, _curve(facts))
        write_text(folder / PROBLEM_FILE, problem.to_json())
        on_a_front = {number for numbers in facts.fronts.values() for number in numbers}
        for trial in facts.trials:
            if trial.number in on_a_front:
                place = folder / FRONT_RATIOS / front_file(trial.number)
                write_ratios(place, ratios_of(problem, _choice(problem, trial)))


def trials_table(trials: Iterable[TrialFacts]) -> str:
    """All trials as CSV: what was tried, what it costs, what came of it."""
    rows = [_row(trial) for trial in trials]
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(trial: TrialFacts) -> dict[str, object]:
    return {
        "trial": trial.number + 1,
        "state": trial.state,
        "score": trial.score,
        "seconds": f"{trial.seconds:.3f}",
        "sampler": trial.sampler,
        "cause": trial.cause,
        **trial.costs,
        **trial.values,
    }


def _curve(facts: SearchFacts) -> str:
    wording = wording_of(facts.score_name)
    return curves_svg([curve_of(facts.sampler, facts.best_scores, wording)], wording)


def _which(facts: SearchFacts) -> str:
    if facts.front is None:
        return ""
    return (
        f"Trial {facts.best + 1}, the best that meets the target; those for other budgets lie in "
        f"{FRONT_RATIOS}/."
    )


def _choice(problem: Problem, trial: TrialFacts) -> tuple[int, ...]:
    return tuple(map(int, problem.space.choice(trial.values)))
