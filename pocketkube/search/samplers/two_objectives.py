"""Asks a sampler of Optuna's that weighs the score against the budget, for a search with a front."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pocketkube.search.front import at_part, parts_of
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project_choice
from pocketkube.search.samplers.history import Choice, History, as_rows
from pocketkube.search.samplers.tpe import distributions_of

if TYPE_CHECKING:
    import optuna

# The coordinate of a point that says how much is spent. No parameter has it: their names have a dot.
BUDGET = "budget"


def proposed(
    problem: Problem,
    past: History,
    sampler: "optuna.samplers.BaseSampler",
    attributes_of: Callable[[int], dict[str, Any]] = lambda number: {},
) -> Choice:
    """What the sampler proposes, by a study that is made anew from the trials.

    Each trial counts as the choice that was really tried, and its budget as what that spends.

    Args:
        problem: The search, with a front.
        past: The trials so far.
        sampler: Optuna's.
        attributes_of: What Optuna's sampler has to know of the n-th trial that ended.
    """
    import optuna
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState, create_trial

    distributions = distributions_of(problem) | {BUDGET: FloatDistribution(0.0, 1.0)}
    choices = (*past.choices, *past.failed, *past.running)
    # What failed is beaten by whatever did not; what runs has no score yet.
    scores = (*past.scores, *[past.worst_score] * len(past.failed))
    parts = parts_of(problem, as_rows(choices, len(problem.space.sizes))).tolist()
    study = optuna.create_study(sampler=sampler, directions=("maximize", "minimize"))
    for number, (choice, part) in enumerate(zip(choices, parts, strict=True)):
        ended = number < len(scores)
        study.add_trial(
            create_trial(
                params=dict(zip(problem.space.names, choice, strict=True)) | {BUDGET: part},
                distributions=distributions,
                values=[scores[number], part] if ended else None,
                state=TrialState.COMPLETE if ended else TrialState.RUNNING,
                system_attrs=attributes_of(number) if ended else {},
            )
        )
    asked = study.ask(distributions).params
    wanted = [asked[name] for name in problem.space.names]
    return project_choice(at_part(problem, asked[BUDGET]), wanted).choice
