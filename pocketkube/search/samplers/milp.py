"""The solution of the foreseen losses first, then those of losses as the trials so far showed them."""

from collections.abc import Sequence

import numpy as np

from pocketkube.search.cost_terms import CostTerms, cost_terms, interacting, summed
from pocketkube.search.front import at_trial
from pocketkube.search.local_search import local_search, next_best
from pocketkube.search.milp import solve
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project, project_choice
from pocketkube.search.samplers.asking import ProposingSampler
from pocketkube.search.samplers.history import Choice, History
from pocketkube.search.samplers.loss_model import foreseen_losses, loss_model


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    """The sensitivity model as a sampler.

    The first answer is exact. Then every trial corrects the losses; in turns it asks for the best
    choice by the likeliest losses, and by losses that may be true, drawn from their distribution. These
    are solved by exchanges of levels, which takes less time than the exact solver and gives the same
    answer each time, however busy the machine is.

    On a front every answer is exact, each for a budget of its own.
    """
    if problem.front is not None:
        return _of_a_front(problem, past)
    if not past.count:
        return solve(problem, foreseen_losses(problem)).choice
    cheapest = project(problem, np.zeros(len(problem.space.sizes)))
    if not cheapest.fits:
        return cheapest.choice
    model = loss_model(problem, past)
    losses = model.likely() if past.count % 2 else model.drawn(rng)
    terms = cost_terms(problem, np.array(cheapest.choice), interacting(problem))
    found = _solved(problem, losses, past, terms)
    if tuple(found.tolist()) in past.tried:
        other = next_best(problem, losses, found, terms, past.tried)
        found = found if other is None else other
    return tuple(found.tolist())


def _of_a_front(problem: Problem, past: History) -> Choice:
    within = at_trial(problem, past.count)
    losses = foreseen_losses(problem)
    found = np.array(solve(within, losses).choice)
    if tuple(found.tolist()) in past.tried:
        terms = cost_terms(within, found, interacting(within))
        other = next_best(within, losses, found, terms, past.tried)
        found = found if other is None else other
    return tuple(found.tolist())


def _solved(
    problem: Problem, losses: Sequence[np.ndarray], past: History, terms: CostTerms
) -> np.ndarray:
    """The best choice by some losses, from the best trial, and from the dearest levels downwards."""
    starts = [project(problem, np.ones(len(problem.space.sizes))).choice]
    if past.best is not None:
        starts.append(project_choice(problem, past.best).choice)
    found = [local_search(problem, losses, np.array(each), terms) for each in starts]
    return min(found, key=lambda each: summed(losses, each))


SAMPLER = ProposingSampler("milp", _propose)
