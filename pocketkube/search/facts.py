"""What there is to know of a search that has ended: the content of its search.json."""

import math
from collections.abc import Iterable, Sequence
from typing import Self

from pydantic import model_validator

from pocketkube.errors import UserError
from pocketkube.files.records import Document, Record
from pocketkube.search.problem import CostName, Problem
from pocketkube.search.space import Decides
from pocketkube.search.trial import State, Trial

# Costs beside the budget's that a person weighs the score against.
WEIGHED: tuple[CostName, ...] = ("bytes", "latency", "macs", "parameters", "mean_bits")


class TrialFacts(Record):
    """What was tried; see `Trial`.

    Attributes:
        values: The value of each parameter, by its name.
        foreseen_loss: The loss that the sensitivity analysis foresees for it; None without one.
    """

    number: int
    state: State
    score: float | None
    costs: dict[str, float]
    seconds: float
    sampler: str
    cause: str = ""
    values: dict[str, float]
    foreseen_loss: float | None = None

    @property
    def without_score(self) -> "TrialFacts":
        """The same, as if it had not been scored."""
        return self.model_copy(update={"score": None})


class FoundFacts(Record):
    """What the best trial gives the targets of a parameter.

    Attributes:
        name: The parameter's.
        decides: What it is.
        targets: Groups of channels, or layers.
        value: What they get.
        whole: What they had before.
    """

    name: str
    decides: Decides
    targets: tuple[str, ...]
    value: float
    whole: float


class SearchFacts(Document):
    """The content of a search.json.

    Attributes:
        sampler: What proposed the trials.
        seed: It follows from this.
        cost: What the budget counts.
        most: How much may be spent, in its unit; with a front what the target asks for.
        front: The lowest and the highest budget, where there was a range of them; None where there was
            one.
        whole_costs: What the network costs with the dearest level of all parameters.
        score_name: What machines call the score.
        whole_score: The score before, on the same examples; None where it was not measured.
        trials: All of them.
        best: The number of the best, of those that spend no more than `most`.
        foreseen_loss: The loss that the sensitivity analysis foresees for it; None without one.
        found: What the best trial gives each parameter.
        fronts: By a cost's name the numbers of the trials than which none has a better score at no
            more of that cost, from the least cost; of the budget's own where there was a range of them.
        seconds: How long the search took, in the process that ended it.
        prepared_seconds: How long it took to prepare what trials share, where that process did.
    """

    schema_version: int = 1
    sampler: str
    seed: int
    cost: CostName
    most: float
    front: tuple[float, float] | None = None
    whole_costs: dict[str, float]
    score_name: str
    whole_score: float | None
    trials: tuple[TrialFacts, ...]
    best: int
    foreseen_loss: float | None
    found: tuple[FoundFacts, ...]
    fronts: dict[CostName, tuple[int, ...]]
    seconds: float
    prepared_seconds: float = 0.0

    @model_validator(mode="after")
    def _trials_are_there(self) -> Self:
        by_number = {trial.number: trial for trial in self.trials}
        if len(by_number) < len(self.trials):
            raise ValueError("trials: two have the same number")
        named = [("best", self.cost, self.best)]
        named += [
            (f"fronts.{c}", c, number) for c, numbers in self.fronts.items() for number in numbers
        ]
        for place, cost, number in named:
            trial = by_number.get(number)
            if trial is None or trial.score is None or cost not in trial.costs:
                raise ValueError(f"{place}: no trial {number} has a score and a cost named {cost}")
        return self

    @property
    def best_trial(self) -> TrialFacts:
        """The best of them."""
        return next(trial for trial in self.trials if trial.number == self.best)

    @property
    def front_trials(self) -> tuple[TrialFacts, ...]:
        """Those that none beats at no more of the budget, from the cheapest; none without a range."""
        by_number = {trial.number: trial for trial in self.trials}
        return tuple(by_number[number] for number in self.fronts.get(self.cost, ()))

    @property
    def ranked(self) -> tuple[TrialFacts, ...]:
        """Those that have a score, by it; of several the one that `best_of` would choose first."""

        def place(trial: TrialFacts) -> tuple[float, ...]:
            assert trial.score is not None
            loss = 0.0 if self.front is not None else trial.foreseen_loss or 0.0
            cost = trial.costs.get(self.cost, 0.0)
            # Older files have no foreseen losses of single trials, but they say which is the best.
            return -trial.score, trial.number != self.best, loss, cost, trial.number

        return tuple(sorted((each for each in self.trials if each.score is not None), key=place))

    @property
    def best_scores(self) -> list[float | None]:
        """The best score after each trial; None before the first that has one and meets the target."""
        if self.front is None:
            return best_so_far(self.trials)
        within = (
            trial if trial.costs.get(self.cost, 0.0) <= self.most else trial.without_score
            for trial in self.trials
        )
        return best_so_far(tuple(within))


def best_of(problem: Problem, trials: Iterable[Trial]) -> Trial:
    """The trial with the best score within the budget; of several the one with the least foreseen loss.

    Where nothing is foreseen, it is the cheapest of them, and of those the first. Of a front, its own
    points count that spend no more than the target: a job goes on with none that another one beats.

    Args:
        problem: The search.
        trials: Any.

    Raises:
        UserError: If none has a score, or none of those that meet the target.
    """
    scored, cost, target = scored_trials(trials), problem.limit.cost, problem.limit.most
    if problem.front is not None:
        target, unbeaten = problem.front.target, front_of(scored, cost)
        scored = [trial for trial in scored if trial.number in unbeaten]
    # A trial's own costs may be rounded.
    within = [trial for trial in scored if problem.cost(trial.choice) <= target]
    if not within:
        raise UserError(
            f"search: none of the trials that meet the target of {target:.6g} {cost} has a score; let "
            "there be more trials"
        )

    def worth(trial: Trial) -> tuple[float, ...]:
        loss = foreseen_loss(problem, trial.choice) or 0.0
        return _score(trial), -loss, -trial.costs.get(cost, 0.0), -trial.number

    return max(within, key=worth)


def scored_trials(trials: Iterable[Trial], whose: str = "") -> list[Trial]:
    """Those of a search that have a score.

    Args:
        trials: All of its trials.
        whose: What the message adds to "trials".

    Raises:
        UserError: If none has one; it says why the last of them failed.
    """
    trials = list(trials)
    scored = [trial for trial in trials if trial.is_scored]
    if not scored:
        causes = [trial.cause for trial in trials if trial.cause]
        why = f"; the last: {causes[-1]}" if causes else ""
        raise UserError(f"search: none of {len(trials)} trials{whose} has a score{why}")
    return scored


def front_of(trials: Iterable[Trial], cost: CostName) -> tuple[int, ...]:
    """The trials than which none has a better score at no more cost; numbers, from the least cost.

    Args:
        trials: Any; those that were not scored are left out.
        cost: Which cost.
    """
    done = [trial for trial in trials if trial.is_scored and cost in trial.costs]
    found: list[int] = []
    best = float("-inf")
    for trial in sorted(done, key=lambda each: (each.costs[cost], -_score(each), each.number)):
        if _score(trial) > best:
            found.append(trial.number)
            best = _score(trial)
    return tuple(found)


def best_so_far(trials: Sequence[Trial | TrialFacts]) -> list[float | None]:
    """The best score after each trial; None before the first that has one.

    Args:
        trials: In the order of their numbers.
    """
    found: list[float | None] = []
    best = None
    for trial in trials:
        if trial.score is not None and math.isfinite(trial.score):
            best = trial.score if best is None else max(best, trial.score)
        found.append(best)
    return found


def search_facts(
    problem: Problem,
    trials: Sequence[Trial],
    *,
    sampler: str,
    seed: int,
    score_name: str,
    whole_score: float | None,
    seconds: float,
    prepared_seconds: float = 0.0,
) -> SearchFacts:
    """Gathers them.

    Args:
        problem: The search.
        trials: All of its trials.
        sampler: See `SearchFacts`, as the others.

    Raises:
        UserError: If no trial within the budget has a score.
    """
    best = best_of(problem, trials)
    dearest = tuple(int(size) - 1 for size in problem.space.sizes)
    return SearchFacts(
        sampler=sampler,
        seed=seed,
        cost=problem.limit.cost,
        most=problem.front.target if problem.front else problem.limit.most,
        front=(problem.front.least, problem.limit.most) if problem.front else None,
        whole_costs=problem.all_costs(dearest),
        score_name=score_name,
        whole_score=whole_score,
        trials=tuple(_trial(problem, trial) for trial in trials),
        best=best.number,
        foreseen_loss=foreseen_loss(problem, best.choice),
        found=tuple(_found(problem, best.choice)),
        fronts=_fronts(problem, trials),
        seconds=seconds,
        prepared_seconds=prepared_seconds,
    )


def foreseen_loss(problem: Problem, choice: Sequence[int]) -> float | None:
    """The loss of the score that the sensitivity analysis foresees; None where there is none."""
    if not problem.losses:
        return None
    return sum(losses[level] for losses, level in zip(problem.losses, choice, strict=True))


def _trial(problem: Problem, trial: Trial) -> TrialFacts:
    return TrialFacts(
        number=trial.number,
        state=trial.state,
        score=trial.score,
        costs=dict(trial.costs),
        seconds=trial.seconds,
        sampler=trial.sampler,
        cause=trial.cause,
        values=problem.space.values(trial.choice),  # type: ignore[arg-type]
        foreseen_loss=foreseen_loss(problem, trial.choice),
    )


def _found(problem: Problem, choice: Sequence[int]) -> Iterable[FoundFacts]:
    for parameter, level in zip(problem.space.parameters, choice, strict=True):
        yield FoundFacts(
            name=parameter.name,
            decides=parameter.decides,
            targets=parameter.targets,
            value=parameter.levels[level],
            whole=parameter.levels[-1],
        )


def _fronts(problem: Problem, trials: Sequence[Trial]) -> dict[CostName, tuple[int, ...]]:
    costs = [cost for cost in WEIGHED if cost != problem.limit.cost]
    if problem.front is not None:
        costs = [problem.limit.cost, *costs]
    found = {cost: front_of(trials, cost) for cost in costs}
    return {cost: numbers for cost, numbers in found.items() if numbers}


def _score(trial: Trial) -> float:
    assert trial.score is not None
    return trial.score
