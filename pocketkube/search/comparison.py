"""What samplers reached at equal trials and budget: the content of a comparison.json."""

from collections.abc import Sequence

import numpy as np

from pocketkube.files.records import Document, Record
from pocketkube.search.facts import best_so_far, scored_trials
from pocketkube.search.problem import CostName, Problem
from pocketkube.search.trial import Trial


class RunFacts(Record):
    """One search.

    Attributes:
        sampler: What proposed its trials.
        seed: It followed from this.
        best_so_far: The best score after each trial; None before the first that has one.
        values: What the best trial gives each parameter, by its name.
    """

    sampler: str
    seed: int
    best_so_far: tuple[float | None, ...]
    values: dict[str, float]


class ComparisonFacts(Document):
    """The content of a comparison.json.

    Attributes:
        cost: What the budget counts.
        most: How much may be spent.
        trials: How many each search had.
        score_name: What machines call the score.
        whole_score: The score before, on the same examples.
        runs: A search for each sampler and seed.
        evaluated: How many choices were evaluated; equal ones are, once, for all searches.
        seconds: How long that took in all.
    """

    schema_version: int = 1
    cost: CostName
    most: float
    trials: int
    score_name: str
    whole_score: float | None
    runs: tuple[RunFacts, ...]
    evaluated: int
    seconds: float

    @property
    def samplers(self) -> tuple[str, ...]:
        """Their names, in the order in which they were asked for."""
        return tuple(dict.fromkeys(run.sampler for run in self.runs))

    def scores(self, sampler: str) -> np.ndarray:
        """The best score of a sampler after each trial, `[seeds, trials]`; NaN before the first."""
        return np.array([run.best_so_far for run in self.runs if run.sampler == sampler], float)


def run_facts(problem: Problem, sampler: str, seed: int, trials: Sequence[Trial]) -> RunFacts:
    """What one of the searches reached.

    Args:
        problem: The search.
        sampler: What proposed its trials.
        seed: It followed from this.
        trials: All of them.

    Raises:
        UserError: If none of them has a score.
    """
    scored = scored_trials(trials, f" of {sampler}, seed {seed},")
    best = max(scored, key=lambda trial: (trial.score, -trial.number))
    return RunFacts(
        sampler=sampler,
        seed=seed,
        best_so_far=tuple(best_so_far(trials)),
        values=problem.space.values(best.choice),  # type: ignore[arg-type]
    )
