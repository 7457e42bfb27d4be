import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketkube.graph.file_bytes import FileForm
from pocketkube.search.problem import Limit, Problem
from pocketkube.search.projection import project, project_choice
from pocketkube.search.space import Parameter, Space
from tests.search.synthetic import chain, synthetic

# What is searched under which limit; the cost of the last two may go down where something is added.
SEARCHES = [
    ("macs", ("kept",)),
    ("parameters", ("kept", "sparsity")),
    ("bytes", ("kept", "bits")),
    ("mean_bits", ("bits",)),
    ("mean_bits", ("kept", "bits")),
    ("bytes", ("kept", "sparsity")),
]
PARTS = st.floats(0.02, 1.1)


def limited(search: int, part: float, layers: int = 5) -> Problem:
    cost, decides = SEARCHES[search]
    problem = synthetic(layers, cost=cost, decides=decides, part=part).problem
    if (cost, "sparsity") != ("bytes", decides[-1]):
        return problem
    problem = replace(problem, file=FileForm("float16", leaves_zeros_out=True))
    return problem.limited(part * problem.cost(problem.space.sizes - 1))


def drawn_point(problem: Problem, data: st.DataObject) -> np.ndarray:
    coordinates = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    count = len(problem.space.parameters)
    return np.array(data.draw(st.lists(coordinates, min_size=count, max_size=count)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), search=st.integers(0, len(SEARCHES) - 1), part=PARTS)
def test_what_is_projected_holds_the_limit_and_spends_it(
    data: st.DataObject, search: int, part: float
) -> None:
    problem = limited(search, part)
    found = project(problem, drawn_point(problem, data))
    choice, last = np.array(found.choice), problem.space.sizes - 1
    assert ((choice >= 0) & (choice <= last)).all()
    assert found.cost == problem.cost(choice)
    assert found.fits == (found.cost <= problem.limit.most)
    if not found.fits:
        assert found.choice == (0,) * len(last)
    else:
        more = [choice + step for step in np.eye(len(last), dtype=int) if (choice + step <= last).all()]
        assert all(problem.cost(each) > problem.limit.most for each in more)
    again = project_choice(problem, found.choice)
    assert again == found


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), search=st.integers(0, 3), parts=st.tuples(PARTS, PARTS))
def test_a_higher_limit_never_gives_a_cheaper_choice(
    data: st.DataObject, search: int, parts: tuple[float, float]
) -> None:
    low, high = (limited(search, part) for part in sorted(parts))
    point = drawn_point(low, data)
    assert project(low, point).cost <= project(high, point).cost


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), search=st.integers(0, len(SEARCHES) - 1), part=PARTS)
def test_a_choice_within_the_limit_loses_nothing(data: st.DataObject, search: int, part: float) -> None:
    problem = limited(search, part)
    choice = np.array([data.draw(st.integers(0, size - 1)) for size in problem.space.sizes])
    if problem.cost(choice) <= problem.limit.most:
        assert (np.array(project_choice(problem, choice).choice) >= choice).all()


def test_zeros_that_cost_more_than_they_save_never_go_beyond_the_limit() -> None:
    # Half of the numbers, their indices and the operation that reads them take more than all numbers.
    space = Space(
        tuple(Parameter(f"{c}.sparsity", "sparsity", (c,), (0.9, 0.5, 0.0)) for c in ("conv0", "conv1"))
    )
    form = FileForm("float16", leaves_zeros_out=True)
    problem = Problem(space, chain(2, size=8, widen=False), Limit("bytes", 1e9), file=form)
    sparsest, half, whole = problem.costs(np.array([[0, 0], [1, 1], [2, 2]]))
    assert sparsest < whole < half
    assert project(problem.limited(whole), np.ones(2)).choice == (2, 2)


def test_with_fine_levels_the_limit_is_spent_to_one_percent() -> None:
    problem = synthetic(27, part=0.3).problem
    rng = np.random.default_rng(0)
    for _ in range(20):
        found = project(problem, rng.random(27))
        assert 0.99 * problem.limit.most <= found.cost <= problem.limit.most


def test_it_says_when_nothing_is_cheap_enough() -> None:
    problem = synthetic(4, part=0.01).problem
    found = project(problem, np.ones(4))
    everything = np.array(list(itertools.product(*map(range, problem.space.sizes))))
    assert not found.fits
    assert found.cost == problem.costs(everything).min() > problem.limit.most


def test_what_is_no_place_in_the_box_counts_as_its_edge_or_middle() -> None:
    problem = synthetic(3, part=0.5).problem
    wild = project(problem, np.array([np.inf, -7.0, np.nan]))
    assert wild == project(problem, np.array([1.0, 0.0, 0.5]))


@pytest.mark.parametrize("cost", ["macs", "parameters", "bytes"])
def test_the_whole_network_is_kept_where_the_limit_allows_it(cost: str) -> None:
    problem = synthetic(4, cost=cost).problem  # type: ignore[arg-type]
    whole = problem.cost(problem.space.sizes - 1)
    roomy = Problem(problem.space, problem.network, Limit(problem.limit.cost, whole))
    assert project(roomy, np.zeros(4)).choice == tuple(problem.space.sizes - 1)
