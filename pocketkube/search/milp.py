"""The best choice under the limit where each parameter's loss adds up: a multiple-choice knapsack.

One level of each parameter is taken; the losses add up; what it costs is a sum over levels and over
pairs of levels, as a layer's multiply-adds are its inputs times its outputs. A pair of levels is a
variable of its own, tied to the two levels by sums, which is exact for whole numbers (Adams and
Sherali, 1986). SciPy's HiGHS solves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocketkube.errors import UserError
from pocketkube.search.cost_terms import CostTerms, cost_terms, interacting, summed
from pocketkube.search.local_search import local_search
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project, project_choice

# Where costs are no sum of pairs, they are taken anew at each solution, so many times.
ROUNDS = 6
# So many nodes of branch and bound are looked at: a limit in seconds would answer equal questions
# differently on a slow machine.
NODES = 1000
# A proven answer loses no more than this part above the best.
GAP = 1e-6


@dataclass(frozen=True)
class Solution:
    """An answer that holds the limit, or all that is cheapest where none does.

    Attributes:
        choice: The level of each parameter.
        loss: The sum of its foreseen losses.
        cost: What it costs, in the limit's unit.
        fits: Whether it holds the limit.
        proven: Whether no choice within the limit loses less. Not so where there were too many nodes to
            look at, or the cost is no sum over pairs of parameters.
    """

    choice: tuple[int, ...]
    loss: float
    cost: float
    fits: bool
    proven: bool


def solve(
    problem: Problem,
    losses: Sequence[Sequence[float] | np.ndarray] | None = None,
    *,
    nodes: int = NODES,
) -> Solution:
    """Finds the choice that loses least under the limit; equal questions have equal answers.

    Args:
        problem: The search.
        losses: Loss of each parameter at each of its levels, `[levels]` for each; the problem's own
            where there are none given.
        nodes: So many are looked at in each round; what was found until then is improved by changes of
            one or two parameters.

    Raises:
        UserError: If there are no losses.
    """
    table = [np.asarray(each, float) for each in (problem.losses if losses is None else losses)]
    if not table:
        raise UserError(
            "The solver needs the loss of each parameter at each level: measure the sensitivity first."
        )
    cheapest = project(problem, np.zeros(len(table)))
    best, proven = np.array(cheapest.choice), False
    if not cheapest.fits:
        return _solution(problem, table, best, proven=False)
    terms = cost_terms(problem, best, interacting(problem))
    spare = 0.0
    for _ in range(ROUNDS):
        found, optimal = _solved(table, terms, spare, nodes)
        anchor = best if found is None else found
        beyond = float(problem.excess(anchor[None])[0])
        if beyond > 0:
            # The sum said less than the truth: so much is kept free, and it is taken where it erred.
            spare += beyond
            anchor = np.array(project_choice(problem, anchor).choice)
        else:
            spare = 0.0
        proven = optimal and terms.exact and beyond <= 0
        # Of a proven one, only levels that lose as much are raised.
        better = local_search(problem, table, anchor, terms)
        best = min(better, best, key=lambda each: summed(table, each))
        if found is None or proven:
            break
        terms = cost_terms(problem, anchor, terms.pairs)
    return _solution(problem, table, best, proven=proven)


def _solution(
    problem: Problem, losses: Sequence[np.ndarray], choice: np.ndarray, *, proven: bool
) -> Solution:
    cost = problem.cost(choice)
    fits = cost <= problem.limit.most
    return Solution(tuple(choice.tolist()), summed(losses, choice), cost, fits, proven)


def _solved(
    losses: Sequence[np.ndarray], terms: CostTerms, spare: float, nodes: int
) -> tuple[np.ndarray | None, bool]:
    """The best choice by a sum of costs, and whether it is sure to be the best."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    sizes, starts = terms.sizes, terms.starts
    binaries = len(terms.owners)
    weights = [terms.single]
    # Row, column and value of each entry of the equations, and their right sides: one level of each.
    rows, columns, values = [terms.owners], [np.arange(binaries)], [np.ones(binaries)]
    right = [1.0] * len(sizes)
    variables = binaries
    for one, two in terms.pairs:
        numbers = variables + np.arange(sizes[one] * sizes[two]).reshape(sizes[one], sizes[two])
        variables += numbers.size
        here, there = (slice(starts[each], starts[each] + sizes[each]) for each in (one, two))
        weights.append(terms.double[here, there].ravel())
        for place, along in ((one, numbers), (two, numbers.T)):
            # All pairs of a level are taken as often as the level is.
            row = len(right) + np.arange(len(along))
            rows += [np.repeat(row, along.shape[1]), row]
            columns += [along.ravel(), starts[place] + np.arange(len(along))]
            values += [np.ones(along.size), -np.ones(len(along))]
            right += [0.0] * len(along)
    equations = coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(len(right), variables),
    )
    cost = np.concatenate(weights)
    scale = max(float(np.abs(cost).max()), 1e-12)
    loss = np.concatenate(losses)
    loss = loss / max(float(np.abs(loss).max()), 1e-12)
    objective = np.concatenate([loss, np.zeros(variables - binaries)])
    found = milp(
        objective,
        integrality=(np.arange(variables) < binaries).astype(int),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(equations.tocsr(), right, right),
            LinearConstraint(cost[None] / scale, -np.inf, (-terms.constant - spare) / scale),
        ],
        options={"node_limit": nodes, "mip_rel_gap": GAP},
    )
    if found.x is None:
        return None, False
    taken = found.x[:binaries]
    choice = [int(taken[a : a + size].argmax()) for a, size in zip(starts, sizes, strict=True)]
    return np.array(choice), found.status == 0
