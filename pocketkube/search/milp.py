"""The best choice under the limit where each parameter's loss adds up: a multiple-choice knapsack.

One level of each parameter is taken; the losses add up; what it costs is a sum over levels and over
pairs of levels, as a layer's multiply-adds are its inputs times its outputs. A pair of levels is a
variable of its own, tied to the two levels by sums, which is exact for whole numbers (Adams and
Sherali, 1986). SciPy's HiGHS solves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pocketkube.errors import UserError
from pocketkube.search.cost_terms import CostTerms, cost_terms, interacting
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project, project_choice

# Where costs are no sum of pairs, they are taken anew at each solution, so many times.
ROUNDS = 6
TIME_LIMIT_SECONDS = 10.0


@dataclass(frozen=True)
class Solution:
    """An answer that holds the limit, or all that is cheapest where none does.

    Attributes:
        choice: The level of each parameter.
        loss: The sum of its foreseen losses.
        cost: What it costs, in the limit's unit.
        fits: Whether it holds the limit.
        proven: Whether no choice within the limit loses less. Not so where time ran out, or the cost is
            no sum over pairs of parameters.
    """

    choice: tuple[int, ...]
    loss: float
    cost: float
    fits: bool
    proven: bool


def solve(
    problem: Problem,
    losses: Sequence[Sequence[float]] | None = None,
    *,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
) -> Solution:
    """Finds the choice that loses least under the limit.

    Args:
        problem: The search.
        losses: Loss of each parameter at each of its levels, `[levels]` for each; the problem's own
            where there are none given.
        time_limit_seconds: What was found until then is the answer.

    Raises:
        UserError: If there are no losses.
    """
    table = [np.asarray(each, float) for each in (problem.losses if losses is None else losses)]
    if not table:
        raise UserError(
            "The solver needs the loss of each parameter at each level: measure the sensitivity first."
        )
    cheapest = project(problem, np.zeros(len(table)))
    if not cheapest.fits:
        return _solution(problem, table, np.array(cheapest.choice), proven=False)
    pairs = interacting(problem)
    best = _improved(problem, table, np.array(cheapest.choice))
    anchor, spare, proven = best, 0.0, False
    for _ in range(ROUNDS):
        terms = cost_terms(problem, anchor, pairs)
        found, optimal = _solved(table, terms, spare, time_limit_seconds / ROUNDS)
        if found is None:
            break
        excess = float(problem.excess(found[None])[0])
        if excess <= 0:
            proven = optimal and terms.exact
            best = min(best, _improved(problem, table, found), key=lambda each: _loss(table, each))
            if terms.exact or (found == anchor).all():
                break
            anchor, spare = found, 0.0
            continue
        # The sum said less than the truth: so much is kept free, and the sum is taken where it erred.
        anchor = np.array(project_choice(problem, found).choice)
        best = min(best, _improved(problem, table, anchor), key=lambda each: _loss(table, each))
        spare += excess
    return _solution(problem, table, best, proven=proven)


def _loss(losses: Sequence[np.ndarray], choice: np.ndarray) -> float:
    return float(sum(each[level] for each, level in zip(losses, choice, strict=True)))


def _solution(
    problem: Problem, losses: Sequence[np.ndarray], choice: np.ndarray, *, proven: bool
) -> Solution:
    cost = problem.cost(choice)
    fits = cost <= problem.limit.most
    return Solution(tuple(choice.tolist()), _loss(losses, choice), cost, fits, proven)


def _solved(
    losses: Sequence[np.ndarray], terms: CostTerms, spare: float, seconds: float
) -> tuple[np.ndarray | None, bool]:
    """The best choice by a sum of costs, and whether it is sure to be the best."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    sizes = np.array([len(each) for each in losses])
    first = np.concatenate([[0], np.cumsum(sizes)])
    binaries = int(first[-1])
    weights = [*terms.single]
    # Row, column and value of each entry of the constraints that are equations.
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    values: list[np.ndarray] = []
    right: list[float] = [1.0] * len(sizes)

    def add(row: np.ndarray, column: np.ndarray, value: float) -> None:
        rows.append(row.ravel())
        columns.append(column.ravel())
        values.append(np.full(row.size, value))

    for place, size in enumerate(sizes):
        add(np.full(size, place), first[place] + np.arange(size), 1.0)
    variables = binaries
    for (one, two), values_of_pair in terms.pairs.items():
        shape = values_of_pair.shape
        numbers = variables + np.arange(values_of_pair.size).reshape(shape)
        variables += values_of_pair.size
        weights.append(values_of_pair.ravel())
        for place, along in ((one, numbers), (two, numbers.T)):
            row = len(right) + np.arange(len(along))
            add(np.broadcast_to(row[:, None], along.shape), along, 1.0)
            add(row, first[place] + np.arange(len(along)), -1.0)
            right += [0.0] * len(along)
    equations = coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(len(right), variables),
    )
    cost = np.concatenate(weights)
    scale = max(float(np.abs(cost).max()), 1e-12)
    objective = np.concatenate([*losses, np.zeros(variables - binaries)])
    found = milp(
        objective / max(float(np.abs(objective).max()), 1e-12),
        integrality=(np.arange(variables) < binaries).astype(int),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(equations.tocsr(), right, right),
            LinearConstraint(cost[None] / scale, -np.inf, (-terms.constant - spare) / scale),
        ],
        options={"time_limit": seconds, "mip_rel_gap": 1e-6},
    )
    if found.x is None:
        return None, False
    taken = found.x[:binaries]
    choice = [int(taken[start:stop].argmax()) for start, stop in pairwise(first)]
    return np.array(choice), found.status == 0


def _improved(problem: Problem, losses: Sequence[np.ndarray], choice: np.ndarray) -> np.ndarray:
    """The choice after all single gains, and exchanges of two parameters' levels, that lose less.

    Levels that cost nothing to raise and lose nothing are raised, too.
    """
    sizes = problem.space.sizes
    for _ in range(4 * len(sizes)):
        moves = _moves(sizes, choice)
        gains = _loss(losses, choice) - np.array([_loss(losses, each) for each in moves])
        order = np.argsort(-gains, kind="stable")
        order = order[gains[order] > 1e-12]
        if not len(order):
            break
        within = np.flatnonzero(problem.excess(moves[order]) <= 0)
        if not len(within):
            break
        choice = moves[order[within[0]]]
    return choice


def _moves(sizes: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """All choices where one parameter differs by a level, or two by one up and one down."""
    count = len(sizes)
    step = np.eye(count, dtype=int)
    singles = np.concatenate([step, -step])
    swaps = (step[:, None] - step[None]).reshape(-1, count)[~np.eye(count, dtype=bool).ravel()]
    moved = choice + np.concatenate([singles, swaps])
    return moved[((moved >= 0) & (moved < sizes)).all(axis=1)]
