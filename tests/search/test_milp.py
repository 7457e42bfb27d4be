import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketkube.errors import UserError
from pocketkube.search.cost_terms import cost_terms, interacting
from pocketkube.search.milp import solve
from pocketkube.search.problem import CostName, Problem
from tests.search.synthetic import chain, residual, synthetic

# The first two and bits under their mean are sums over pairs; the others are of a higher order.
SEARCHES = [
    ("macs", ("kept",), 5),
    ("parameters", ("kept",), 5),
    ("mean_bits", ("bits",), 6),
    ("parameters", ("kept", "sparsity"), 3),
    ("bytes", ("kept", "bits"), 3),
    ("mean_bits", ("kept", "bits"), 3),
]


def everything(problem: Problem) -> np.ndarray:
    return np.array(list(itertools.product(*map(range, problem.space.sizes))))


def foreseen(problem: Problem, choices: np.ndarray) -> np.ndarray:
    width = int(problem.space.sizes.max())
    table = np.array([[*each, *[np.nan] * (width - len(each))] for each in problem.losses])
    return table[np.arange(len(table)), choices].sum(axis=1)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(search=st.integers(0, 2), part=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_no_other_choice_within_the_limit_loses_less(search: int, part: float, seed: int) -> None:
    cost, decides, layers = SEARCHES[search]
    problem = synthetic(layers, cost=cost, decides=decides, part=part, seed=seed).problem
    choices = everything(problem)
    within = choices[problem.costs(choices) <= problem.limit.most]
    found = solve(problem)
    assert found.fits == bool(len(within))
    if found.fits:
        assert found.proven
        assert found.loss == pytest.approx(foreseen(problem, within).min(), rel=1e-5)
        assert found.cost == problem.cost(found.choice) <= problem.limit.most


@settings(max_examples=15, deadline=None, derandomize=True)
@given(search=st.integers(3, 5), part=st.floats(0.2, 0.8), seed=st.integers(0, 99))
def test_costs_of_three_parameters_hold_the_limit_and_come_near_the_best(
    search: int, part: float, seed: int
) -> None:
    cost, decides, layers = SEARCHES[search]
    problem = synthetic(layers, cost=cost, decides=decides, part=part, seed=seed).problem
    choices = everything(problem)
    within = choices[problem.costs(choices) <= problem.limit.most]
    found = solve(problem)
    assert found.fits == bool(len(within))
    if found.fits:
        assert found.cost <= problem.limit.most
        whole = max(map(max, problem.losses))
        assert found.loss <= foreseen(problem, within).min() + 0.03 * whole
        assert not found.proven


@pytest.mark.parametrize("network", [chain(16), residual(4)], ids=lambda net: net.network)
@pytest.mark.parametrize("part", [0.5, 0.2])
def test_it_is_never_worse_than_a_greedy(network: object, part: float) -> None:
    problem = synthetic(network=network, part=part, seed=3).problem  # type: ignore[arg-type]
    choice = problem.space.sizes - 1
    while problem.cost(choice) > problem.limit.most:
        fewer = np.array([choice - step for step in np.eye(len(choice), dtype=int)])
        fewer = fewer[(fewer >= 0).all(axis=1)]
        lost = foreseen(problem, fewer) - foreseen(problem, choice[None])
        saved = problem.cost(choice) - problem.costs(fewer)
        choice = fewer[np.argmin(lost / np.maximum(saved, 1e-9))]
    found = solve(problem)
    assert found.proven
    assert found.loss <= foreseen(problem, choice[None])[0] + 1e-9


def test_other_losses_have_another_solution() -> None:
    problem = synthetic(6, part=0.4).problem
    turned = [tuple(reversed(each)) for each in problem.losses]
    assert solve(problem, turned).choice == (0,) * 6


def test_levels_that_lose_nothing_are_not_cut_for_nothing() -> None:
    problem = synthetic(5, part=0.6).problem
    free = [(0.0,) * size for size in problem.space.sizes]
    choice = np.array(solve(problem, free).choice)
    more = [
        choice + step for step in np.eye(5, dtype=int) if (choice + step < problem.space.sizes).all()
    ]
    assert all(problem.cost(each) > problem.limit.most for each in more)


def test_it_says_when_nothing_is_cheap_enough() -> None:
    found = solve(synthetic(4, part=0.001).problem)
    assert (found.choice, found.fits, found.proven) == ((0, 0, 0, 0), False, False)


def test_it_needs_losses() -> None:
    with pytest.raises(UserError, match="measure the sensitivity"):
        solve(synthetic(4, with_losses=False).problem)


def test_only_layers_that_follow_each_other_interact() -> None:
    problem = synthetic(6).problem
    assert interacting(problem) == tuple((place, place + 1) for place in range(5))
    assert cost_terms(problem, np.zeros(6, int), interacting(problem)).exact
    one_by_one = synthetic(6, decides=("bits",), cost="mean_bits").problem
    assert interacting(one_by_one) == ()


@pytest.mark.parametrize(
    ("cost", "decides"),
    [("macs", ("kept",)), ("bytes", ("kept", "bits")), ("mean_bits", ("kept", "bits"))],
)
def test_an_answer_that_is_cut_short_holds_the_limit_and_comes_again(
    cost: CostName, decides: tuple[str, ...]
) -> None:
    """No clock plays a part: a slow machine answers as a fast one."""
    problem = synthetic(5, cost=cost, decides=decides, part=0.35, seed=2).problem
    short = solve(problem, nodes=0)
    assert short.fits
    assert problem.cost(short.choice) <= problem.limit.most
    assert solve(problem, nodes=0) == short
    whole = solve(problem)
    assert solve(problem) == whole
    assert whole.loss <= short.loss + 1e-9
